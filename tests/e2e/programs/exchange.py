"""`exchange.py send|receive`: what the steps of a stage do that hold keys, as a party's pod."""

import os
import shutil
import sys
from pathlib import Path

from offsite.bundle import AdapterFacts, write_manifest
from offsite.events import Monitor
from offsite.exchange import WHOLE, Mailbox, Outgoing, Reference, pull, push
from offsite.exchange.home import open_mailbox

HOME, SECRET = Path("/tmp/home"), Path("/etc/offsite/identity")
SILENT = Monitor(lambda event: None)


def main() -> None:
    """Send a small bundle, or print what came."""
    mailbox = _mailbox()
    if sys.argv[1] == "send":
        push(mailbox, Outgoing(_bundle(), "lab", job="e2e"), SILENT)
        return
    envelope = mailbox.incoming("hospital", Reference("answer"))
    pull(mailbox, envelope, Path("/tmp/got"), WHOLE, SILENT)
    print(Path("/tmp/got/adapter.safetensors").read_text())


def _mailbox() -> Mailbox:
    """Lay the mounted keys out as a home has them; they are ours through our group."""
    for name in ("keys", "peers"):
        (HOME / name).mkdir(parents=True)
    for path in SECRET.glob("*.json"):
        peer = path.name.startswith("peer-")
        target = HOME / ("peers" if peer else "keys") / path.name.removeprefix("peer-")
        shutil.copyfile(path, target)
        target.chmod(0o600)
    return open_mailbox(HOME, os.environ["EXCHANGE"], os.environ)


def _bundle() -> Path:
    folder = Path("/tmp/answer")
    folder.mkdir()
    (folder / "adapter.safetensors").write_text("weights")
    facts = AdapterFacts(method="LoRA", scope="All", rank=1, answers="sha256:" + "0" * 64)
    parties = {"made_by": "hospital", "made_for": "lab"}
    fields = {"architecture": "X", "dtype": "float32", "facts": facts}
    write_manifest(folder, name="answer", **parties, **fields)
    return folder


if __name__ == "__main__":
    main()
