"""offsite: tune a model that you may not see, on data that nobody else may see.

The core of the platform (Offsite-Tuning, Xiao, Lin, Han 2023, arXiv 2302.04870). It knows neither
Kubernetes nor the terminal. A tour, low to high:

* `errors`, `events`: what can go wrong, and what a running stage tells.
* `families`: how each model architecture is built, as data.
* `config`, `api`, `resources`: the job file, its types, and those of a cluster's resources.
* `store`, `bundle`: the exchange point, and the folders that travel through it.
* `layers`: a model as embeddings, blocks and head. From here upward torch is imported.
* `data`, `train`, `adapter`, `emulator`: the bricks of a stage.
* `plugin`, `evaluate`, `distill`, `tune`: what each stage computes.
* `stages`: what each stage reads, writes and reports; the only place that composes.
"""

__version__ = "0.1.0"
