"""`make fuzz`: a million hostile inputs, guided by what code they reach (atheris, libFuzzer).

The run ends with the number of cases and of refusals; a crash, a hang of more than ten seconds, or
more than 1 GiB of memory is a bug, and ends it with the input that did it.
"""

import argparse
import sys

import atheris

with atheris.instrument_imports(include=["offsite"]):
    from offsite_testing.hostile import targets


def main() -> None:
    """Fuzz every target in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=1_000_000)
    options = parser.parse_args()
    every = list(targets().values())
    seen = {"cases": 0, "refused": 0}

    def one(data: bytes) -> None:
        drawn = atheris.FuzzedDataProvider(data)
        target = every[drawn.ConsumeIntInRange(0, len(every) - 1)]
        seen["cases"] += 1
        seen["refused"] += target.attack(drawn.ConsumeIntInRange) is not None
        if seen["cases"] == options.cases:
            print(f"{seen['cases']} cases: {seen['refused']} refused, all others read", flush=True)

    limits = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=512", f"-runs={options.cases}"]
    atheris.Setup([sys.argv[0], *limits, "-seed=1", "-verbosity=0"], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
