"""Hostile bytes: what comes from the other party, the store or a camera, and ways to spoil it.

Every reader gives a value or raises an `OffsiteError`; anything else is a bug. No reader here needs
torch, and none may load it.
"""

import atexit
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from offsite.bundle import (
    ADAPTER,
    PROVENANCE,
    AdapterFacts,
    BlockRecord,
    EmulatorRecord,
    Origin,
    check_adapter,
    check_emulator,
    check_whole,
    write_manifest,
    write_provenance,
)
from offsite.bundle.provenance import read_provenance
from offsite.errors import OffsiteError
from offsite.sealing import (
    Header,
    Ring,
    Shard,
    new_bundle_key,
    open_shard,
    read_envelope,
    seal_shard,
    write_envelope,
)
from offsite.sealing.notice import Notice, open_notice, write_notice
from offsite.sealing.publicfile import read_public
from offsite.wire import canonical, now
from offsite_testing.hostile_images import hostile_images
from offsite_testing.hostile_peer import HostilePeer
from offsite_testing.tokenizers import reshaped

Number = Callable[[int, int], int]
"""Draws a number between two, both included."""

_HUGE = (
    b"9" * 400,
    b"1e999",
    b"-1",
    b"18446744073709551616",
    b"null",
    b"true",
    b"[]",
    b'"\\u0000"',
)
_NAMES = (b"../../x", b"/etc/passwd", "\uff43onfig.json".encode(), b"a\\u0000b", b"", b"__proto__")
_BRACKETS = (b"[", b'{"a":', b"]")


def spoiled(content: bytes, number: Number) -> bytes:
    """Change bytes in one to four places."""
    for _ in range(number(1, 4)):
        content = _CHANGES[number(0, len(_CHANGES) - 1)](content, number)
    return content


def _flip(content: bytes, number: Number) -> bytes:
    place = number(0, max(0, len(content) - 1))
    return content[:place] + bytes([number(0, 255)]) + content[place + 1 :]


def _truncate(content: bytes, number: Number) -> bytes:
    return content[: number(0, len(content))]


def _extend(content: bytes, number: Number) -> bytes:
    return content + bytes([number(0, 255)]) * number(1, 4096)


def _repeat(content: bytes, number: Number) -> bytes:
    start = number(0, len(content))
    piece = content[start : start + number(0, 256)]
    return content[:start] + piece * number(1, 3) + content[start:]


def _swap(content: bytes, number: Number) -> bytes:
    one, other = sorted((number(0, len(content)), number(0, len(content))))
    return content[other:] + content[one:other] + content[:one]


def _nest(content: bytes, number: Number) -> bytes:
    place = number(0, len(content))
    return content[:place] + _BRACKETS[number(0, 2)] * number(1, 20_000) + content[place:]


def _value(content: bytes, number: Number) -> bytes:
    """Put another value behind a colon, where JSON has its values."""
    places = [i for i, byte in enumerate(content[:20_000]) if byte == ord(":")]
    if not places:
        return content
    place = places[number(0, len(places) - 1)] + 1
    end = place
    while end < len(content) and content[end] not in b",}]":
        end += 1
    return content[:place] + _HUGE[number(0, len(_HUGE) - 1)] + content[end:]


def _name(content: bytes, number: Number) -> bytes:
    """Put another name between quotation marks."""
    marks = [i for i, byte in enumerate(content[:20_000]) if byte == ord('"')]
    if len(marks) < 2:
        return content
    first = number(0, len(marks) - 2)
    name = _NAMES[number(0, len(_NAMES) - 1)]
    return content[: marks[first] + 1] + name + content[marks[first + 1] :]


_CHANGES = (_flip, _truncate, _extend, _repeat, _swap, _nest, _value, _name)


@dataclass(frozen=True)
class Target:
    """Bytes as an honest party sends them, and what reads them."""

    sound: bytes
    read: Callable[[bytes], object]
    spoil: Callable[[bytes, Number], bytes] = spoiled

    def attack(self, number: Number) -> str | None:
        """Let it read spoiled bytes; gives its refusal, if any. Anything else is raised."""
        try:
            self.read(self.spoil(self.sound, number))
        except OffsiteError as error:
            return str(error)
        return None


@cache
def targets() -> Mapping[str, Target]:
    """Make everything that a party reads from others."""
    lab, hospital = Ring.new("lab"), Ring.new("hospital")
    key, public = new_bundle_key(), lab.public()
    header = Header(
        bundle="0" * 32,
        name="answer",
        kind="adapter",
        sender="lab",
        recipient="hospital",
        job="job",
        sequence=1,
        created=now(),
        shards=(Shard(file=0, number=0, count=1, sha256="0" * 64, size=9),),
    )
    envelope = write_envelope(header, key, lab, [hospital.public()]).content
    notice = header.model_copy(update={"kind": "notice", "shards": ()})
    told = Notice.of("Tune", "DataError", "line 7 has no text")
    noticed = write_notice(notice, told, lab, hospital.public()).content
    sealed = seal_shard(key, io.BytesIO(b"plain" * 9), 45, b"")
    return {
        "envelope": Target(envelope, lambda c: read_envelope(c, public).bundle_key(hospital)),
        "notice": Target(noticed, lambda c: open_notice(read_envelope(c, public), hospital)),
        "public file": Target(canonical(public.wire()), lambda c: read_public(c, "file")),
        "shard": Target(sealed, lambda c: open_shard(key, c, b"", io.BytesIO())),
        **_bundle_targets(lab, hospital),
        **{name: Target(sound, read) for name, sound, read in hostile_images()},
    }


def _bundle_targets(lab: Ring, hospital: Ring) -> dict[str, Target]:
    root = Path(tempfile.mkdtemp(prefix="hostile-"))
    atexit.register(shutil.rmtree, root)
    record, adapter = _adapter(root / "adapter")
    emulator = _emulator(root / "emulator")
    peer = HostilePeer.of(lab, hospital, adapter, root / "peer")
    found = {
        "signed header": Target(peer.sent.header.content, peer.pull_header),
        "wrapped key": Target(canonical(peer.sent.bundle_key(lab)), peer.unwrap),
        "wrapped notice": Target(Notice.of("Tune", "DataError", "so it is").content, peer.hear),
        "signed public file": Target(canonical(hospital.public().wire()), peer.succeed),
        "listing": Target(peer.listing, peer.look),
        PROVENANCE: _provenance(root / "plugged", lab),
    }
    for name in (ADAPTER, "manifest.json"):
        path, sound = adapter / name, (adapter / name).read_bytes()
        found[f"adapter's {name}"] = Target(sound, _reading(path, sound, adapter, record))
    for path in sorted(emulator.glob("*.json")):
        sound = path.read_bytes()
        found[f"emulator's {path.name}"] = Target(sound, _writing(path, sound, emulator))
    tokenizer = found["emulator's tokenizer.json"]
    found["emulator's tokenizer.json, still JSON"] = replace(tokenizer, spoil=reshaped)
    return found


def _provenance(folder: Path, ring: Ring) -> Target:
    folder.mkdir()
    digest = "sha256:" + "0" * 64
    write_provenance(folder, ring, Origin(emulator=digest, adapter=digest, alpha=1))
    rings = [ring.public()]
    sound = (folder / PROVENANCE).read_bytes()
    return Target(sound, lambda content: read_provenance(content, rings, "file"))


def _reading(
    path: Path, sound: bytes, folder: Path, record: EmulatorRecord
) -> Callable[..., object]:
    """Check the adapter with one file spoiled; a manifest that is true to it is made anew."""

    def read(content: bytes) -> object:
        path.write_bytes(content)
        try:
            if path.name == ADAPTER:
                _write_adapter_manifest(folder)
            check_whole(folder)
            return check_adapter(folder, record)
        finally:
            path.write_bytes(sound)
            _write_adapter_manifest(folder)

    return read


def _writing(path: Path, sound: bytes, folder: Path) -> Callable[[bytes], object]:
    def read(content: bytes) -> object:
        path.write_bytes(content)
        try:
            return check_emulator(folder)
        finally:
            path.write_bytes(sound)

    return read


def _adapter(folder: Path) -> tuple[EmulatorRecord, Path]:
    folder.mkdir()
    sizes: dict[str, Any] = {"tensors": {"w.weight": (5, 4)}, "linears": {"w.weight": (4, 5)}}
    record = EmulatorRecord(
        bundle="emulator",
        digest="sha256:" + "0" * 64,
        recipient="hospital",
        architecture="X",
        model_digest="sha256:" + "1" * 64,
        blocks=(BlockRecord(full=0, end=True, **sizes),),
    )
    shapes = record.expected("LoRA", "All", 2)
    tensors = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    (folder / ADAPTER).write_bytes(save(tensors))
    _write_adapter_manifest(folder)
    return record, folder


def _write_adapter_manifest(folder: Path) -> None:
    facts = AdapterFacts(method="LoRA", scope="All", rank=2, answers="sha256:" + "0" * 64)
    write_manifest(
        folder,
        name="answer",
        made_by="hospital",
        made_for="lab",
        architecture="X",
        dtype="float32",
        facts=facts,
    )


def _emulator(folder: Path) -> Path:
    """Copy the small emulator that lies beside the tests: checking it needs no torch."""
    folder.mkdir()
    for path in (Path(__file__).parents[1] / "vectors/emulator").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert json.loads((folder / "manifest.json").read_bytes())["facts"]["kind"] == "emulator"
    return folder
