# SPDX-License-Identifier: MIT
dist_man_MANS += $(MAN_PAGES)
dist_doc_DATA = README.md NEWS doc/tour.md doc/numerics.md doc/performance.md doc/performance-nvidia.md doc/performance-nvidia-trials.md doc/mechanisms.md \
	doc/testing.md doc/tuning.md doc/selection.md doc/pruning.md doc/pruning.svg doc/pruning.tsv doc/pruning.gp
exampledir = $(docdir)/examples
dist_example_DATA = $(EXAMPLES)
bytelmdir = $(exampledir)/bytelm
dist_bytelm_DATA = $(BYTELM_SRCS) $(BYTELM_HDRS) doc/examples/bytelm/kernels.cl doc/examples/bytelm/Makefile \
	doc/examples/bytelm/README.md

# The large example, on the public interface alone; users build it by the Makefile in its folder.
if HAVE_CLBLAST
check_PROGRAMS += doc/examples/bytelm/bytelm
doc_examples_bytelm_bytelm_SOURCES = $(BYTELM_SRCS) $(BYTELM_HDRS)
nodist_doc_examples_bytelm_bytelm_SOURCES = doc/examples/bytelm/kernels_text.c
doc_examples_bytelm_bytelm_CPPFLAGS = -I$(top_builddir)/include -I$(top_srcdir)/include $(OPENCL_CFLAGS) $(CLBLAST_CFLAGS) \
	$(JANSSON_CFLAGS)
doc_examples_bytelm_bytelm_LDADD = libclattn.la $(CLBLAST_LIBS) $(JANSSON_LIBS) $(OPENCL_LIBS) -lm
CLEANFILES += doc/examples/bytelm/kernels_text.c
endif
doc/examples/bytelm/kernels_text.c: doc/examples/bytelm/kernels.cl
	$(AM_V_at)$(MKDIR_P) doc/examples/bytelm
	$(AM_V_GEN){ echo 'const char kernels_text[] ='; sed 's/[\\"]/\\&/g; s/.*/    "&\\n"/' $(top_srcdir)/doc/examples/bytelm/kernels.cl; \
	  echo '    ;'; } > $@.tmp && mv $@.tmp $@

# Man pages and shell scripts, by whatever checkers are here.  The tests' variables come from tests/local.mk (SC2154), those of
# tests/runtimes.sh are for who sources it (SC1091, SC2034).
lint:
	cd $(srcdir) && mandoc -T lint -W warning $(MAN_PAGES)
	cd $(srcdir) && shellcheck -s sh -S warning -e SC1091,SC2034,SC2154 autogen.sh quickstart .ci/run build-aux/get-intel-runtime.sh tests/runtimes.sh \
	  $(SCRIPT_CHECKS) tests/check_faults.sh tests/check_remembered.sh tests/check_careful.sh tests/check_tune.sh bench/gpu.sh
.PHONY: lint
