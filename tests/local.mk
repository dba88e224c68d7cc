# SPDX-License-Identifier: MIT
# Check programs report through TAP; CK_FORK=no because an OpenCL runtime does not survive fork.
TEST_EXTENSIONS = .sh
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
AM_TESTS_ENVIRONMENT = CK_FORK=no; CK_TAP_LOG_FILE_NAME=-; CK_VERBOSITY=silent; CK_DEFAULT_TIMEOUT=0; \
	POCL_CACHE_DIR="$(abs_top_builddir)/tests/pocl-cache"; mkdir -p "$$POCL_CACHE_DIR"; \
	export CK_FORK CK_TAP_LOG_FILE_NAME CK_VERBOSITY CK_DEFAULT_TIMEOUT POCL_CACHE_DIR; \
	NM='$(NM)'; CC='$(CC)'; CXX='$(CXX)'; top_builddir='$(abs_top_builddir)'; top_srcdir='$(abs_top_srcdir)'; \
	TEST_CPPFLAGS='$(AM_CPPFLAGS)'; MAKE='$(MAKE)'; \
	export NM CC CXX top_builddir top_srcdir TEST_CPPFLAGS MAKE;

noinst_HEADERS += tests/ref.h
EXTRA_DIST += $(SCRIPT_CHECKS) tests/data tests/devices

TESTS += $(SCRIPT_CHECKS)
if HAVE_CHECK
check_PROGRAMS += $(PUBLIC_CHECKS) $(INNER_CHECKS)
TESTS += $(PUBLIC_CHECKS) $(INNER_CHECKS)
endif
AM_CPPFLAGS += $(CHECK_CFLAGS)

# Tests of the installed interface.
LDADD = libworkload.la libclattn.la $(CHECK_LIBS) $(OPENCL_LIBS) -lm
# Tests of hidden functions link the objects.
tests_check_expr_LDADD = libclattn_core.la $(CHECK_LIBS)
tests_check_plan_LDADD = libclattn_core.la $(CHECK_LIBS)
