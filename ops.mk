# SPDX-License-Identifier: MIT
# ops.mk - the only lists of operators, engines, tests and pages.  To add an operator: a word here, one .cl, one .c,
# one test, one page.

CL_SRCS = cl/attention/forward_vector.cl cl/attention/forward_few.cl cl/attention/forward_portable.cl cl/attention/forward_matrix.cl \
	cl/attention/forward_stream.cl cl/attention/forward_decode.cl cl/attention/forward_blocked.cl \
	cl/attention/merge.cl cl/attention/tables.cl \
	cl/select/select_candidates.cl cl/select/select_rows.cl cl/select/select_tree.cl cl/select/select_scan.cl \
	cl/select/select_blocks.cl cl/select/select_certify.cl cl/select/select_top.cl cl/select/select_given.cl cl/select/select_bounds.cl \
	cl/select/delta.cl cl/select/extend.cl

CORE_SRCS = src/core/status.c src/core/version.c src/core/failure.c src/core/checked.c src/core/layout.c \
	src/core/env.c src/core/text.c src/core/cache.c src/core/quarantine.c src/core/kept.c src/core/program.c src/core/device.c src/core/context.c
EXPR_SRCS = src/expr/tree.c src/expr/names.c src/expr/reader.c src/expr/parse.c src/expr/print.c src/expr/bias.c src/expr/emit.c \
	src/expr/eval.c src/expr/interval.c src/expr/derive.c
ENGINE_SRCS = src/engine/spec.c src/engine/geometry.c src/engine/traps.c src/engine/instructions.c src/engine/vector.c \
	src/engine/matrix.c src/engine/team.c src/engine/decode.c src/engine/nvidia.c src/engine/ptx.c src/engine/blocked.c src/engine/portable.c \
	src/engine/knobs.c src/engine/tuning.c src/engine/built_in.c src/engine/choose.c
ATTENTION_SRCS = src/attention/pattern.c src/attention/problem.c src/attention/cost.c src/attention/check.c \
	src/attention/rules.c src/attention/mechanism.c \
	src/attention/setter.c src/attention/launch.c src/attention/chain.c src/attention/tables.c src/attention/buffers.c src/attention/enqueue.c src/attention/merge.c \
	src/attention/selftest.c src/attention/tuned.c src/attention/helper.c src/attention/plan.c src/attention/host.c

SELECT_SRCS = src/select/list.c src/select/check.c src/select/pattern.c src/select/shape.c src/select/tile.c src/select/layout.c \
	src/select/launch.c src/select/enqueue.c src/select/host.c src/select/selftest.c src/select/words.c \
	src/select/explain.c src/select/plan.c src/select/refresh.c src/select/list_copy.c src/select/delta.c src/select/extend.c src/select/extend_selftest.c \
	src/select/dense_below.c

# tests/ref*.c is the double reference: `clattn verify' links it on purpose.
WORKLOAD_SRCS = src/tool/parallel.c src/tool/workload.c src/tool/workload_check.c src/tool/workload_random.c src/tool/npy.c tests/ref.c \
	tests/ref_rule.c tests/ref_extend.c tests/ref_select.c tests/ref_mass.c
TOOL_SRCS = src/tool/main.c src/tool/say.c src/tool/upload.c src/tool/options.c src/tool/devices.c src/tool/run.c src/tool/verify.c \
	src/tool/tensors.c src/tool/explain.c src/tool/names.c src/tool/select.c src/tool/select_report.c \
	src/tool/selection.c src/tool/selection_check.c src/tool/list_files.c src/tool/delta.c src/tool/extended.c \
	src/tool/bench/baseline.c src/tool/bench/bench.c src/tool/bench/compare.c src/tool/bench/files.c \
	src/tool/bench/isolate.c src/tool/bench/measure.c src/tool/bench/meter.c src/engine/nvml.c src/tool/bench/peak.c \
	src/tool/bench/peers.c src/tool/bench/presets.c src/tool/bench/pruned.c src/tool/bench/reproduce.c \
	src/tool/bench/statistics.c src/tool/bench/stored.c src/tool/bench/table.c src/tool/bench/worker.c \
	src/tool/report/columns.c src/tool/report/csv.c src/tool/report/html.c src/tool/report/json.c \
	src/tool/report/markdown.c src/tool/report/plots.c src/tool/report/style.c src/tool/report/svg.c \
	src/tool/tune/child.c src/tool/tune/file.c src/tool/tune/search.c src/tool/tune/tune.c src/tool/tune/worker.c

# Tests of the installed interface; of hidden functions, which link the objects (tests/local.mk says so); scripts.
# RUNTIME_CHECKS run again on the other CPU runtime.
PUBLIC_CHECKS = tests/check_ref tests/check_select_ref tests/check_mass tests/check_forward tests/check_properties tests/check_data tests/check_compile \
	tests/check_misuse tests/check_threads tests/check_guard tests/check_mechanisms tests/check_mechanism_traps \
	tests/check_list tests/check_select tests/check_listed tests/check_delta tests/check_quality tests/check_extension tests/check_extend tests/check_statistics tests/check_parallel
INNER_CHECKS = tests/check_parse tests/check_canon tests/check_intervals tests/check_derivative \
	tests/check_kernel_functions tests/check_kernel_rules tests/check_layout tests/check_cache \
	tests/check_program tests/check_quarantine tests/check_plan tests/check_ptx tests/check_selectors tests/check_search tests/check_budgets tests/check_refresh \
	tests/check_tuning
RUNTIME_CHECKS = tests/check_misuse tests/check_forward tests/check_properties tests/check_data tests/check_threads \
	tests/check_guard tests/check_program tests/check_kernel_functions tests/check_kernel_rules tests/check_mechanisms \
	tests/check_mechanism_traps tests/check_listed
SCRIPT_CHECKS = tests/symbols.sh tests/headers.sh tests/check_run.sh tests/check_second.sh tests/check_tool.sh tests/check_bench.sh tests/check_tour.sh tests/check_quickstart.sh \
	tests/check_sweep.sh tests/check_determinism.sh \
	tests/check_oclgrind.sh tests/check_rusticl.sh tests/check_intel.sh tests/check_cpus.sh \
	tests/check_matrix.sh tests/check_texts.sh tests/check_blocked.sh tests/check_bytelm.sh tests/consumer.sh

# What users read and copy; the consumer test compiles and runs the examples, check_bytelm.sh the large one.
MAN_PAGES = doc/clattn.1 doc/clattn-devices.1 doc/clattn-run.1 doc/clattn-verify.1 doc/clattn-bench.1 \
	doc/clattn-tune.1 doc/clattn_tuning.5 doc/clattn-explain.1 doc/clattn-select.1 doc/clattn.3 doc/clattn_expr.7 doc/clattn_problem.7
EXAMPLES = doc/examples/minimal.c doc/examples/causal_gqa.c doc/examples/own_context.c
BYTELM_SRCS = doc/examples/bytelm/main.c doc/examples/bytelm/score.c doc/examples/bytelm/generate.c \
	doc/examples/bytelm/forward.c doc/examples/bytelm/attention.c doc/examples/bytelm/selection.c doc/examples/bytelm/model.c \
	doc/examples/bytelm/safetensors.c doc/examples/bytelm/parts.c doc/examples/bytelm/device.c
BYTELM_HDRS = doc/examples/bytelm/commands.h doc/examples/bytelm/forward.h doc/examples/bytelm/attention.h doc/examples/bytelm/selection.h \
	doc/examples/bytelm/model.h doc/examples/bytelm/safetensors.h doc/examples/bytelm/parts.h doc/examples/bytelm/device.h
