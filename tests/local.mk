# SPDX-License-Identifier: MIT
# Check programs report through TAP, each case by its name; CK_FORK=no because an OpenCL runtime does not survive fork.
# Every test sees one OpenCL implementation, PoCL; CLATTN_TEST_RUNTIME names another (tests/runtimes.sh).
TEST_EXTENSIONS = .sh
SH_LOG_COMPILER = $(SHELL)
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
AM_TESTS_ENVIRONMENT = \
	CK_FORK=no; CK_TAP_LOG_FILE_NAME=-; CK_VERBOSITY=silent; CK_DEFAULT_TIMEOUT=0; \
	export CK_FORK CK_TAP_LOG_FILE_NAME CK_VERBOSITY CK_DEFAULT_TIMEOUT; \
	NM='$(NM)'; CC='$(CC)'; CXX='$(CXX)'; MAKE='$(MAKE)'; TEST_CPPFLAGS='$(AM_CPPFLAGS) $(CPPFLAGS)'; \
	export NM CC CXX MAKE TEST_CPPFLAGS; \
	top_builddir='$(abs_top_builddir)'; top_srcdir='$(abs_top_srcdir)'; RUNTIME_CHECKS='$(RUNTIME_CHECKS)'; \
	CLATTN_CACHE_DIR='$(abs_top_builddir)/tests/cache'; CLATTN_TUNING=''; \
	export top_builddir top_srcdir RUNTIME_CHECKS CLATTN_CACHE_DIR CLATTN_TUNING; \
	. '$(abs_top_srcdir)/tests/runtimes.sh'; \
	use_runtime "$${CLATTN_TEST_RUNTIME:-pocl}" || test -z "$${CLATTN_TEST_RUNTIME}" || \
	{ echo "CLATTN_TEST_RUNTIME: $$why" >&2; exit 99; };

noinst_HEADERS += tests/ref.h tests/ref_select.h tests/ref_mass.h tests/ref_extend.h tests/suite.h tests/on_queue.h tests/fresh_context.h tests/draw.h tests/engines.h
EXTRA_DIST += tests/fuzz/fuzz_rules.c tests/fuzz/fuzz_report.c tests/fuzz/fuzz_tuning.c tests/fuzz/fuzz_files.c tests/fuzz/run.sh tests/fuzz/seeds tests/fuzz/words \
	tests/fuzz/seeds-tuning tests/fuzz/words-tuning tests/fuzz/seeds-report tests/fuzz/words-report \
	tests/fuzz/seeds-files tests/fuzz/words-files $(SCRIPT_CHECKS) \
	tests/check_faults.sh tests/check_remembered.sh tests/check_careful.sh tests/check_tune.sh tests/check_bench.py tests/runtimes.sh $(DATA_FILES) tests/data/README.md tests/devices tests/ptx
CLEAN_DIRS += fuzz tests/pocl-cache tests/pocl-cache-avx2 tests/pocl-cache-sse tests/cache tests/etc tests/vendors

# Those that take minutes first: side by side, the last of them is not alone at the end.
if HAVE_FAULTS
TESTS += tests/check_faults.sh tests/check_remembered.sh tests/check_careful.sh tests/check_tune.sh
endif
TESTS += $(SCRIPT_CHECKS)
if HAVE_CHECK
check_PROGRAMS += $(PUBLIC_CHECKS) $(INNER_CHECKS)
TESTS += $(PUBLIC_CHECKS) $(INNER_CHECKS)
endif
AM_CPPFLAGS += $(CHECK_CFLAGS)

LDADD = libworkload.la libclattn.la $(CHECK_LIBS) $(OPENCL_LIBS) -lm
INNER_LDADD = libclattn_core.la $(CHECK_LIBS)
tests_check_intervals_LDADD = $(INNER_LDADD)
tests_check_intervals_SOURCES = tests/check_intervals.c tests/on_device.c tests/on_device.h tests/random_rule.c tests/random_rule.h
tests_check_parse_LDADD = $(INNER_LDADD)
tests_check_canon_LDADD = $(INNER_LDADD)
tests_check_canon_SOURCES = tests/check_canon.c tests/random_rule.c tests/random_rule.h
tests_check_kernel_functions_LDADD = $(INNER_LDADD)
tests_check_kernel_functions_SOURCES = tests/check_kernel_functions.c tests/on_device.c tests/on_device.h \
	tests/random_rule.c tests/random_rule.h
tests_check_kernel_rules_LDADD = libworkload.la $(INNER_LDADD)
tests_check_kernel_rules_SOURCES = tests/check_kernel_rules.c tests/on_device.c tests/on_device.h tests/random_rule.c \
	tests/random_rule.h
tests_check_derivative_LDADD = $(INNER_LDADD)
tests_check_derivative_SOURCES = tests/check_derivative.c tests/random_rule.c tests/random_rule.h
tests_check_layout_LDADD = $(INNER_LDADD)
tests_check_cache_LDADD = $(INNER_LDADD)
tests_check_program_LDADD = $(INNER_LDADD)
tests_check_quarantine_LDADD = $(INNER_LDADD)
tests_check_plan_LDADD = $(INNER_LDADD)
tests_check_ptx_LDADD = $(INNER_LDADD)
tests_check_tuning_LDADD = libworkload.la $(INNER_LDADD)
# the system's file of tuning is one of the build folder
tests_check_tuning_SOURCES = tests/check_tuning.c src/attention/tuned.c
tests_check_tuning_CPPFLAGS = $(AM_CPPFLAGS) -USYSCONFDIR -DSYSCONFDIR='"$(abs_top_builddir)/tests/etc"'
tests_check_selectors_LDADD = libworkload.la $(INNER_LDADD)
tests_check_selectors_SOURCES = tests/check_selectors.c tests/select_trial.c tests/select_trial.h
tests_check_search_LDADD = libworkload.la $(INNER_LDADD)
tests_check_search_SOURCES = tests/check_search.c tests/select_trial.c tests/select_trial.h
tests_check_budgets_LDADD = libworkload.la $(INNER_LDADD)
tests_check_budgets_SOURCES = tests/check_budgets.c tests/select_trial.c tests/select_trial.h
tests_check_refresh_LDADD = libworkload.la $(INNER_LDADD)
tests_check_refresh_SOURCES = tests/check_refresh.c tests/select_trial.c tests/select_trial.h
tests_check_statistics_SOURCES = tests/check_statistics.c src/tool/bench/statistics.c
tests_check_listed_SOURCES = tests/check_listed.c tests/trial.c tests/trial.h
tests_check_mechanisms_SOURCES = tests/check_mechanisms.c tests/trial.c tests/trial.h
tests_check_mechanism_traps_SOURCES = tests/check_mechanism_traps.c tests/trial.c tests/trial.h
tests_check_misuse_SOURCES = tests/check_misuse.c tests/misuse.h

# PoCL on lesser CPUs, by a library that stands in for a question to LLVM.
if HAVE_LIBRARIES_LISTED
check_LTLIBRARIES += tests/other_cpu.la
tests_other_cpu_la_SOURCES = tests/other_cpu.c
tests_other_cpu_la_LDFLAGS = -module -avoid-version -shared -rpath $(abs_top_builddir)/tests
tests_other_cpu_la_LIBADD =
else
EXTRA_DIST += tests/other_cpu.c
endif

# Every OpenCL call made to fail: a layer of the ICD loader, and the program that drives it.
if HAVE_FAULTS
check_LTLIBRARIES += tests/fault/faultlayer.la
tests_fault_faultlayer_la_SOURCES = tests/fault/faultlayer.c tests/fault/fault.h
tests_fault_faultlayer_la_LDFLAGS = -module -avoid-version -shared -rpath $(abs_top_builddir)/tests/fault
tests_fault_faultlayer_la_LIBADD = $(PTHREAD_LIBS)
check_LTLIBRARIES += tests/fault/nvml.la
tests_fault_nvml_la_SOURCES = tests/fault/nvml.c
tests_fault_nvml_la_LDFLAGS = -module -avoid-version -shared -rpath $(abs_top_builddir)/tests/fault
tests_fault_nvml_la_LIBADD =
check_PROGRAMS += tests/fault/fault_driver
tests_fault_fault_driver_SOURCES = tests/fault/fault_driver.c tests/fault/fault.h
tests_fault_fault_driver_LDADD = $(LDADD)
else
EXTRA_DIST += tests/fault/faultlayer.c tests/fault/nvml.c tests/fault/fault_driver.c tests/fault/fault.h
endif
