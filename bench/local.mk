# SPDX-License-Identifier: MIT
# The real tensors, which `clattn bench' takes from the source folder or from where they are installed, and the model of
# doc/examples/bytelm.
DATA_FILES = \
	tests/data/causal/q.npy tests/data/causal/k.npy tests/data/causal/v.npy \
	tests/data/causal/o.npy tests/data/causal/lse.npy \
	tests/data/mixed/q.npy tests/data/mixed/k.npy tests/data/mixed/v.npy \
	tests/data/mixed/o.npy tests/data/mixed/lse.npy \
	tests/data/bidirectional/q.npy tests/data/bidirectional/k.npy tests/data/bidirectional/v.npy \
	tests/data/bidirectional/o.npy tests/data/bidirectional/lse.npy \
	tests/data/cross/q.npy tests/data/cross/k.npy tests/data/cross/v.npy \
	tests/data/cross/o.npy tests/data/cross/lse.npy \
	tests/data/bytelm/model.safetensors tests/data/bytelm/sample.txt tests/data/bytelm/README.md \
	tests/data/bytelm/LICENSE-sample.txt

EXTRA_DIST += bench/disassemble.sh bench/gpu.sh bench/registers.py bench/accuracy.py bench/nvidia_offline.py
# For those who write kernels, made by make check: texts side by side; what nvidia_offline.py asks.
check_PROGRAMS += bench/texts bench/nvidia_text
BENCH_TOOL_SRCS = src/tool/say.c src/tool/options.c src/tool/tensors.c src/tool/upload.c src/tool/bench/statistics.c
BENCH_LDADD = libworkload.la libclattn_core.la $(OPENCL_LIBS) -lm
bench_texts_SOURCES = bench/texts.c $(BENCH_TOOL_SRCS)
bench_texts_LDADD = $(BENCH_LDADD)
bench_nvidia_text_SOURCES = bench/nvidia_text.c $(BENCH_TOOL_SRCS)
bench_nvidia_text_LDADD = $(BENCH_LDADD)
peersdir = $(pkgdatadir)/peers
dist_peers_DATA = bench/peers/peers.py bench/peers/gpu_peers.py

install-data-hook:
	for f in $(DATA_FILES); do \
	  to="$(DESTDIR)$(pkgdatadir)/`echo $$f | sed 's,^tests/,,'`"; \
	  $(MKDIR_P) "`dirname $$to`" && $(INSTALL_DATA) $(srcdir)/$$f "$$to" || exit 1; done
uninstall-hook:
	rm -rf "$(DESTDIR)$(pkgdatadir)/data"
	-rmdir "$(DESTDIR)$(pkgdatadir)" 2> /dev/null
