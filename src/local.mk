# SPDX-License-Identifier: MIT
noinst_HEADERS += src/core/core.h src/expr/expr.h src/expr/tree.h src/expr/reader.h src/engine/engine.h \
	src/attention/attention.h src/select/select.h src/select/extend.h src/select/host.h src/tool/parallel.h src/tool/workload.h src/tool/npy.h src/tool/tool.h \
	src/tool/bench/bench.h src/tool/report/report.h src/tool/bench/statistics.h src/tool/report/svg.h \
	src/tool/report/plots.h src/tool/bench/meter.h src/engine/meter.h src/tool/bench/peers.h src/tool/selection.h src/tool/select_report.h \
	src/tool/delta.h src/tool/extended.h src/tool/upload.h src/tool/tune/tune.h

AM_CPPFLAGS += -DSYSCONFDIR='"$(sysconfdir)"'

# The objects of the library; the tests of hidden functions link them directly.
noinst_LTLIBRARIES += libclattn_core.la
libclattn_core_la_SOURCES = $(CORE_SRCS) $(EXPR_SRCS) $(ENGINE_SRCS) $(SELECT_SRCS) $(ATTENTION_SRCS)
nodist_libclattn_core_la_SOURCES = $(CL_GEN)
libclattn_core_la_LIBADD = $(OPENCL_LIBS) $(LIBMD_LIBS) $(PTHREAD_LIBS) -lm

lib_LTLIBRARIES += libclattn.la
libclattn_la_SOURCES =
libclattn_la_LIBADD = libclattn_core.la
# current:revision:age; 0.1.0 is 0:0:0.  A struct that grows is an interface of its own, with age 0, for calls take structs of one size.
libclattn_la_LDFLAGS = -no-undefined -version-info 0:0:0 -export-symbols-regex '^clattn_[^_]'

# A problem with its tensors and the double reference: shared by the program and the tests.
noinst_LTLIBRARIES += libworkload.la
libworkload_la_SOURCES = $(WORKLOAD_SRCS)
libworkload_la_LIBADD = $(PTHREAD_LIBS)

bin_PROGRAMS += clattn
clattn_SOURCES = $(TOOL_SRCS)
nodist_clattn_SOURCES = $(TOOL_CL_GEN)
clattn_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(CLBLAST_CFLAGS) -DPRESET_DIR='"$(pkgdatadir)"'
clattn_LDADD = libworkload.la libclattn.la $(JANSSON_LIBS) $(CLBLAST_LIBS) $(OPENCL_LIBS) $(DL_LIBS) -lm
