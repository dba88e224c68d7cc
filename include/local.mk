# SPDX-License-Identifier: MIT
include_HEADERS = include/clattn.h
clattnincludedir = $(includedir)/clattn
clattninclude_HEADERS = include/clattn/attention.h include/clattn/context.h include/clattn/delta.h include/clattn/device.h \
	include/clattn/export.h include/clattn/extend.h include/clattn/list.h include/clattn/mechanism.h include/clattn/merge.h include/clattn/pattern.h \
	include/clattn/problem.h include/clattn/refresh.h include/clattn/rule.h \
	include/clattn/select.h include/clattn/status.h include/clattn/tune.h
nodist_clattninclude_HEADERS = include/clattn/version.h
