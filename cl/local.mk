# SPDX-License-Identifier: MIT
# Kernel texts: .cl files flattened into C arrays, and the table of them; flattened copies to read, install and override.
CL_HDRS = cl/common/blocks.clh cl/common/carry.clh cl/common/consume.clh cl/common/exp2.clh cl/common/forward.clh cl/common/forward_args.clh cl/common/fragments.clh cl/common/gather.clh cl/common/join.clh \
	cl/common/list_args.clh cl/common/list_search.clh cl/common/merge_args.clh cl/common/multiply_add.clh cl/common/plan.clh cl/common/produce.clh \
	cl/common/row_offset.clh cl/common/rule.clh cl/common/rule_interval.clh cl/common/rule_list.clh cl/common/rule_pairs.clh cl/common/runs.clh cl/common/runs_together.clh cl/common/storage.clh \
	cl/common/stream.clh \
	cl/common/tables_args.clh cl/common/transpose.clh cl/common/vector_scores.clh cl/common/work.clh cl/engine/copies.clh cl/engine/door.clh cl/engine/dot_x86.clh cl/engine/fetch_ahead.clh cl/engine/halves.clh cl/engine/mbarrier.clh cl/engine/native.clh cl/engine/pairs.clh cl/engine/pipeline.clh cl/engine/quads.clh cl/engine/stage.clh cl/engine/tensor_map.clh \
	cl/select/budget.clh cl/select/candidates.clh cl/select/chunks.clh cl/select/delta_args.clh cl/select/emit_list.clh cl/select/extend_args.clh \
	cl/select/mean.clh cl/select/measure.clh cl/select/order.clh cl/select/products.clh cl/select/rope.clh cl/select/rows.clh \
	cl/select/scores.clh cl/select/select.clh cl/select/select_args.clh \
	cl/engine/tile_dot.clh cl/engine/tile_fma.clh cl/engine/tile_generic.clh cl/engine/tile_mma.clh cl/engine/tile_tf32.clh cl/engine/tile_wgmma.clh
TOOL_CL_SRCS = cl/tool/peak.cl cl/tool/softmax_rows.cl
CL_GEN = $(CL_SRCS:.cl=.cl.c) cl/table.c
TOOL_CL_GEN = $(TOOL_CL_SRCS:.cl=.cl.c)
CL2C = LC_ALL=C $(AWK) -v dirs=$(top_srcdir)/cl/common:$(top_srcdir)/cl/engine:$(top_srcdir)/cl/select
EXTRA_DIST += $(CL_HDRS) $(CL_SRCS) $(TOOL_CL_SRCS) build-aux/cl2c.awk
CLEANFILES += $(CL_GEN) $(TOOL_CL_GEN) cl/flat.stamp

SUFFIXES = .cl .cl.c
.cl.cl.c:
	$(AM_V_at)$(MKDIR_P) $(@D)
	$(AM_V_GEN)$(CL2C) -f $(top_srcdir)/build-aux/cl2c.awk $< > $@.tmp && mv $@.tmp $@
$(CL_SRCS:.cl=.cl.c) $(TOOL_CL_GEN): $(CL_HDRS) $(top_srcdir)/build-aux/cl2c.awk

cl/table.c: $(top_srcdir)/ops.mk
	$(AM_V_at)$(MKDIR_P) cl
	$(AM_V_GEN)( echo '#include "core/core.h"'; \
	  for f in $(CL_SRCS); do n=`basename $$f .cl`; echo "extern const char clattn__cl_$$n[];"; done; \
	  echo 'const struct clattn__kernel_text clattn__kernel_texts[] = {'; \
	  for f in $(CL_SRCS); do n=`basename $$f .cl`; echo "    {\"$$n\", clattn__cl_$$n},"; done; \
	  echo '    {0, 0}};' ) > $@.tmp && mv $@.tmp $@

# What CLATTN_KERNEL_DIR takes: whole texts under the kernels' own names.
cl/flat.stamp: $(CL_SRCS) $(CL_HDRS) $(top_srcdir)/build-aux/cl2c.awk $(top_srcdir)/ops.mk
	$(AM_V_at)$(MKDIR_P) cl/flat
	$(AM_V_GEN)for f in $(CL_SRCS); do \
	  $(CL2C) -v flat=1 -f $(top_srcdir)/build-aux/cl2c.awk $(top_srcdir)/$$f > cl/flat/`basename $$f` || exit 1; \
	  done; touch $@
all-local: cl/flat.stamp
CLEAN_DIRS += cl/flat
install-data-local: cl/flat.stamp
	$(MKDIR_P) "$(DESTDIR)$(pkgdatadir)/cl"
	for f in $(CL_SRCS); do $(INSTALL_DATA) cl/flat/`basename $$f` "$(DESTDIR)$(pkgdatadir)/cl/" || exit 1; done
uninstall-local:
	for f in $(CL_SRCS); do rm -f "$(DESTDIR)$(pkgdatadir)/cl/`basename $$f`"; done
	-rmdir "$(DESTDIR)$(pkgdatadir)/cl" 2> /dev/null
