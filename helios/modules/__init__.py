"""The module registry: which implementation stands for each stage of the pipeline, in which version.

from helios.modules import process as modules
modules.resolve("risk").implementation.run(...)
"""
