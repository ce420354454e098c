"""`python -m helios.modules.gate JOB`: started by `sandbox.run` and by nothing else."""

import sys

from helios.modules.gate.child import main

main(sys.argv[1])
