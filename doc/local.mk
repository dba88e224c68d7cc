# SPDX-License-Identifier: MIT
dist_man_MANS += $(MAN_PAGES)
dist_doc_DATA = README.md NEWS doc/numerics.md doc/performance.md
exampledir = $(docdir)/examples
dist_example_DATA = $(EXAMPLES)

# Man pages and shell scripts, by whatever checkers are here.
lint:
	cd $(srcdir) && mandoc -T lint -W warning $(MAN_PAGES)
	cd $(srcdir) && shellcheck -s sh -e SC1091 autogen.sh quickstart .ci/run build-aux/get-intel-runtime.sh tests/runtimes.sh \
	  $(SCRIPT_CHECKS) tests/check_faults.sh
.PHONY: lint
