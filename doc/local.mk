# SPDX-License-Identifier: MIT
dist_man_MANS += $(MAN_PAGES)
dist_doc_DATA = README.md NEWS doc/numerics.md doc/performance.md doc/performance-nvidia.md doc/mechanisms.md doc/testing.md
exampledir = $(docdir)/examples
dist_example_DATA = $(EXAMPLES)

# Man pages and shell scripts, by whatever checkers are here.  The tests' variables come from tests/local.mk (SC2154), those of
# tests/runtimes.sh are for who sources it (SC1091, SC2034).
lint:
	cd $(srcdir) && mandoc -T lint -W warning $(MAN_PAGES)
	cd $(srcdir) && shellcheck -s sh -S warning -e SC1091,SC2034,SC2154 autogen.sh quickstart .ci/run build-aux/get-intel-runtime.sh tests/runtimes.sh \
	  $(SCRIPT_CHECKS) tests/check_faults.sh tests/check_remembered.sh bench/gpu.sh
.PHONY: lint
