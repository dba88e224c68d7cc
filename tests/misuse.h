/* SPDX-License-Identifier: MIT
 * misuse.h - the lists of misuses that check_misuse.c goes through, in the order of the headers.
 *
 * A row is X(name, what is done wrong, status, part of the sentence). */
#ifndef MISUSE_H
#define MISUSE_H

#define FAR ((int64_t)1 << 61)
/* What is wrong with a problem: a is a good one. */
#define PROBLEM_MISUSES(X)                                                                                   \
    X(struct_size_zero, a->size = 0, BAD_STRUCT_SIZE, "clattn_attention.size is 0")                          \
    X(struct_size_odd, a->size -= 1, BAD_STRUCT_SIZE, "clattn_attention.size")                               \
    X(struct_size_huge, a->size = (size_t)-1, BAD_STRUCT_SIZE, "clattn_attention.size")                      \
    X(batch_negative, a->batch = -1, BAD_BATCH, "batch is -1")                                               \
    X(batch_overflows_int, a->batch = (int64_t)1 << 32, BAD_BATCH, "batch is 4294967296")                    \
    X(heads_zero, a->heads = 0, BAD_HEADS, "heads is 0")                                                     \
    X(heads_negative, a->heads = -4, BAD_HEADS, "heads is -4")                                               \
    X(heads_huge, a->heads = INT64_MAX, BAD_HEADS, "heads is 9223372036854775807")                           \
    X(kv_heads_zero, a->kv_heads = 0, BAD_KV_HEADS, "kv_heads is 0")                                         \
    X(kv_heads_negative, a->kv_heads = -1, BAD_KV_HEADS, "kv_heads is -1")                                   \
    X(heads_not_divisible, (a->heads = 6, a->kv_heads = 4), HEADS_NOT_DIVISIBLE,                             \
      "heads is 6 and kv_heads is 4")                                                                        \
    X(more_kv_heads_than_heads, (a->heads = 2, a->kv_heads = 4), HEADS_NOT_DIVISIBLE, "kv_heads is 4")       \
    X(q_len_negative, a->q_len = -1, BAD_Q_LEN, "q_len is -1")                                               \
    X(q_len_too_long, a->q_len = ((int64_t)1 << 30) + 1, BAD_Q_LEN, "2^30")                                  \
    X(kv_len_negative, a->kv_len = -7, BAD_KV_LEN, "kv_len is -7")                                           \
    X(kv_len_too_long, a->kv_len = INT64_MIN, BAD_KV_LEN, "kv_len")                                          \
    X(dim_zero, a->dim = 0, BAD_DIM, "dim is 0")                                                             \
    X(dim_too_large, a->dim = 577, BAD_DIM, "1 to 576")                                                      \
    X(dim_v_zero, a->dim_v = 0, BAD_DIM_V, "dim_v is 0")                                                     \
    X(dim_v_too_large, a->dim_v = 1000000, BAD_DIM_V, "1 to 576")                                            \
    X(scale_nan, a->scale = NAN, BAD_SCALE, "scale")                                                         \
    X(scale_infinite, a->scale = -INFINITY, BAD_SCALE, "finite")                                             \
    X(type_q_unknown, a->type_q = 3, BAD_TYPE, "type_q is 3")                                                \
    X(type_k_negative, a->type_k = -1, BAD_TYPE, "type_k is -1")                                             \
    X(type_v_unknown, a->type_v = 77, BAD_TYPE, "type_v is 77")                                              \
    X(type_o_unknown, a->type_o = 3, BAD_TYPE, "type_o is 3")                                                \
    X(flag_unknown, a->flags = 0x80000000u, BAD_FLAGS, "flags is 0x80000000")                                \
    X(arrays_stay_elsewhere, a->flags = CLATTN_ARRAYS_STAY | CLATTN_CALLER_WORKSPACE, BAD_FLAGS, "own")      \
    X(reserved_not_zero, a->reserved = 1, BAD_FLAGS, "reserved is 1")                                        \
    X(q_stride_negative, a->q.token = -2, BAD_STRIDE, "q.token is -2")                                       \
    X(k_stride_negative, a->k.head = -100, BAD_STRIDE, "k.head is -100")                                     \
    X(v_stride_negative, a->v.batch = INT64_MIN, BAD_STRIDE, "v.batch")                                      \
    X(q_offset_negative, a->q.offset = -1, BAD_OFFSET, "q.offset is -1")                                     \
    X(o_offset_negative, a->o.offset = -5, BAD_OFFSET, "o.offset is -5")                                     \
    X(lse_offset_negative, (a->flags = CLATTN_WANT_LSE, a->lse.offset = -5), BAD_OFFSET, "lse.offset is -5") \
    X(o_rows_overlap, a->o.token = DIM - 1, OVERLAPPING_OUTPUT, "o has strides")                             \
    X(o_heads_overlap, a->o.head = DIM, OVERLAPPING_OUTPUT, "o has strides")                                 \
    X(o_broadcast, (a->batch = 2, a->o.batch = 0), OVERLAPPING_OUTPUT, "o has strides")                      \
    X(lse_rows_overlap, (a->flags = CLATTN_WANT_LSE, a->lse.token = 0), OVERLAPPING_OUTPUT,                  \
      "lse has strides")                                                                                     \
    X(q_offset_overflows, a->q.offset = INT64_MAX, SIZE_OVERFLOW, "q")                                       \
    X(k_stride_overflows, a->k.token = FAR, SIZE_OVERFLOW, "k")                                              \
    X(v_bytes_overflow, (a->v.offset = FAR, a->v.token = DIM), SIZE_OVERFLOW, "v")                           \
    X(o_stride_overflows, a->o.head = INT64_MAX, SIZE_OVERFLOW, "o")                                         \
    X(packed_and_key_lengths, a->flags = CLATTN_PACKED | CLATTN_KEY_LENGTHS, LENGTHS_CONFLICT,               \
      "CLATTN_PACKED")                                                                                       \
    X(packed_q_total_negative, (a->flags = CLATTN_PACKED, a->q_total = -1), BAD_TOTAL, "q_total is -1")      \
    X(packed_kv_total_large, (a->flags = CLATTN_PACKED, a->kv_total = (int64_t)1 << 31), BAD_TOTAL,          \
      "kv_total is 2147483648")                                                                              \
    X(splits_negative, a->splits = -1, BAD_COUNT, "splits is -1")                                            \
    X(splits_huge, a->splits = INT64_MAX, BAD_COUNT, "splits")                                               \
    X(too_many_scalars, a->n_scalars = CLATTN_MAX_SCALARS + 1, BAD_COUNT, "n_scalars is 9")                  \
    X(scalars_negative, a->n_scalars = -1, BAD_COUNT, "n_scalars is -1")                                     \
    X(too_many_arrays, a->n_arrays = CLATTN_MAX_ARRAYS + 1, BAD_COUNT, "n_arrays is 9")                      \
    X(array_dim_zero, add_array(a, "len", 0), BAD_ARRAY, "dims[0] of array 'len' is 0")                      \
    X(array_dim_negative, add_array(a, "len", -1), BAD_ARRAY, "dims[0] of array 'len' is -1")                \
    X(array_dim_large, add_array(a, "len", (int64_t)1 << 31), BAD_ARRAY, "2147483648")                       \
    X(array_without_dims, (add_array(a, "len", 2), a->arrays[0].n_dims = 0), BAD_ARRAY, "0 dimensions")      \
    X(array_of_five_dims, (add_array(a, "len", 2), a->arrays[0].n_dims = 5), BAD_ARRAY, "5 dimensions")      \
    X(array_type_unknown, (add_array(a, "len", 2), a->arrays[0].type = 6), BAD_ARRAY, "type 6")              \
    X(array_overflows, huge_array(a), SIZE_OVERFLOW, "'len'")                                                \
    X(array_index_missing, (add_array(a, "len", 2), mask(a, "k < len")), EXPR_SYNTAX, "'['")                 \
    X(array_index_too_many, (add_array(a, "len", 2), mask(a, "k < len[b, k]")), EXPR_SYNTAX, "']'")          \
    X(array_index_real, (add_array(a, "len", 2), mask(a, "k < len[b / 2]")), EXPR_TYPE, "floor")             \
    X(scalar_type_unknown, (add_scalar(a, "w"), a->scalars[0].type = CLATTN_F16), BAD_SCALAR, "type 1")      \
    X(scalar_fraction, (add_scalar(a, "w"), a->scalars[0].value = 0.5), BAD_SCALAR, "whole number")          \
    X(scalar_too_large, (add_scalar(a, "w"), a->scalars[0].value = 1e10), BAD_SCALAR, "whole number")        \
    X(scalar_nan, (add_scalar(a, "w"), a->scalars[0].type = CLATTN_F32, a->scalars[0].value = NAN),          \
      BAD_SCALAR, "finite")                                                                                  \
    X(normaliser_unknown, a->normaliser = 4, BAD_NORMALISER, "normaliser is 4")                              \
    X(normaliser_negative, a->normaliser = -1, BAD_NORMALISER, "normaliser is -1")                           \
    X(weight_under_softmax, a->weight = clattn_weight("relu(score)"), BAD_NORMALISER, "CLATTN_COUNT")        \
    X(l1_without_weight, a->normaliser = CLATTN_L1, BAD_NORMALISER, "softplus")                              \
    X(score_null, a->score = clattn_score(NULL), NULL_ARGUMENT, "score")                                     \
    X(score_is_a_condition, a->score = clattn_score("score < 1"), EXPR_TYPE, "2 * score")                    \
    X(score_unknown_function, a->score = clattn_score("sin(score)"), EXPR_NAME, "'sin'")                     \
    X(mask_reads_the_score, mask(a, "score > 0"), EXPR_NAME, "score")                                        \
    X(mask_is_a_score_rule, mask(a, "soft_cap(30)"), EXPR_TYPE, "score rule")                                \
    X(named_rule_too_few, mask(a, "window()"), EXPR_SYNTAX, "column 8")                                      \
    X(named_rule_no_array, mask(a, "documents(q)"), EXPR_SYNTAX, "declared array")                           \
    X(name_empty, add_scalar(a, ""), BAD_NAME, "''")                                                         \
    X(name_starts_with_digit, add_scalar(a, "2nd"), BAD_NAME, "'2nd'")                                       \
    X(name_with_space, add_scalar(a, "my name"), BAD_NAME, "'my name'")                                      \
    X(name_with_code, add_scalar(a, "x);abort("), BAD_NAME, "letter")                                        \
    X(name_unterminated, add_scalar(a, "sixteen_letters_"), BAD_NAME, "number 0")                            \
    X(name_twice, (add_scalar(a, "width"), add_array(a, "width", 1)), DUPLICATE_NAME, "'width'")             \
    X(name_of_an_index, add_scalar(a, "k_len"), DUPLICATE_NAME, "'k_len'")                                   \
    X(engine_unknown, strcpy(a->engine, "warp"), BAD_ENGINE, "'warp'")                                       \
    X(engine_unterminated, memset(a->engine, 'v', sizeof a->engine), BAD_ENGINE, "engine")                   \
    X(corner_unknown, a->pattern.corner = 3, BAD_CORNER, "corner is 3")                                      \
    X(corner_missing, a->pattern = clattn_causal(CLATTN_NO_CORNER), BAD_CORNER,                              \
      "CLATTN_TOP_LEFT or CLATTN_BOTTOM_RIGHT")                                                              \
    X(corners_differ,                                                                                        \
      a->pattern = clattn_both(clattn_causal(CLATTN_TOP_LEFT), clattn_causal(CLATTN_BOTTOM_RIGHT)),          \
      CORNERS_DIFFER, "corners")                                                                             \
    X(corners_differ_either,                                                                                 \
      a->pattern = clattn_either(clattn_window(4, 0, CLATTN_BOTTOM_RIGHT), clattn_causal(CLATTN_TOP_LEFT)),  \
      CORNERS_DIFFER, "corners")                                                                             \
    X(mask_null, a->pattern = clattn_mask(NULL, CLATTN_TOP_LEFT), NULL_ARGUMENT, "NULL")                     \
    X(mask_too_long, long_mask(a, "k <= q & ", 90, "k <= q"), EXPR_LIMIT, "longer")                          \
    X(mask_unterminated, no_terminator(a), EXPR_LIMIT, "terminated")                                         \
    X(mask_too_deep, long_mask(a, "(", 200, "k"), EXPR_LIMIT, "deeper")                                      \
    X(mask_unclosed, mask(a, "(k <= q"), EXPR_SYNTAX, "column")                                              \
    X(mask_empty_operand, mask(a, "k <="), EXPR_SYNTAX, "column")                                            \
    X(mask_two_operators, mask(a, "k < < q"), EXPR_SYNTAX, "column")                                         \
    X(mask_trailing_text, mask(a, "k < q k"), EXPR_SYNTAX, "column")                                         \
    X(mask_with_include, mask(a, "#include \"/etc/passwd\""), EXPR_SYNTAX, "column")                         \
    X(mask_with_semicolon, mask(a, "k < q;"), EXPR_SYNTAX, "column")                                         \
    X(mask_array_unclosed, (add_array(a, "len", 1), mask(a, "k < len[b")), EXPR_SYNTAX, "column")            \
    X(mask_is_a_number, mask(a, "k + q"), EXPR_TYPE, "condition")                                            \
    X(mask_adds_conditions, mask(a, "(k < q) + 1 < 2"), EXPR_TYPE, "column")                                 \
    X(mask_negates_a_number, mask(a, "!k"), EXPR_TYPE, "column")                                             \
    X(mask_ands_a_number, mask(a, "k & q < 2"), EXPR_TYPE, "column")                                         \
    X(mask_unknown_name, mask(a, "k < get_global_id"), EXPR_NAME, "get_global_id")                           \
    X(mask_undeclared_array, mask(a, "k < len[b]"), EXPR_NAME, "len")                                        \
    X(mask_number_too_large, mask(a, "k < 2147483648"), EXPR_NUMBER, "32 bits")                              \
    X(mask_number_huge, mask(a, "k < 99999999999999999999999"), EXPR_NUMBER, "32 bits")                      \
    X(prefix_of_a_bad_name, a->pattern = clattn_prefix_each("no good", CLATTN_TOP_LEFT), BAD_NAME, "name")   \
    X(prefix_of_a_null_name, a->pattern = clattn_prefix_each(NULL, CLATTN_TOP_LEFT), NULL_ARGUMENT, "NULL")  \
    X(valid_keys_undeclared, a->pattern = clattn_valid_keys("seen"), EXPR_NAME, "seen")                      \
    X(listed_without_list, mask(a, "listed | k < 4"), BAD_LIST, "no list")                                   \
    X(name_of_lists, add_scalar(a, "listed"), DUPLICATE_NAME, "'listed'")                                    \
    X(list_size_odd, (fit_list(a), a->list.size = 8), BAD_STRUCT_SIZE, "list")                               \
    X(list_block_zero, (fit_list(a), a->list.block_k = 0), BAD_BLOCK, "list")                                \
    X(list_place_odd, (fit_list(a), a->list.ids_at += 2), BAD_OFFSET, "list")                                \
    X(list_of_another_batch, (fit_list(a), a->list.batch++), BAD_LIST, "list.batch")                         \
    X(list_of_no_scope, (fit_list(a), a->list.scopes = 0), BAD_LIST, "scopes 0")                             \
    X(list_of_fewer_blocks, (fit_list(a), a->list.q_blocks = 0), BAD_LIST, "q_blocks 0")                     \
    X(list_of_more_keys, (fit_list(a), a->list.k_blocks += 7), BAD_LIST, "k_blocks")                         \
    X(selected_null, a->pattern = clattn_selected(NULL, CLATTN_TOP_LEFT), NULL_ARGUMENT, "pattern")          \
    X(selected_size, a->pattern = clattn_selected(&(clattn_select){.size = 4}, CLATTN_TOP_LEFT), BAD_STRUCT_SIZE, "pattern") \
    X(selected_negative, a->pattern = clattn_selected(&(clattn_select){.size = sizeof(clattn_select), .sink = -1}, CLATTN_TOP_LEFT), \
      BAD_COUNT, "pattern")

#define USE_PACKED                                                                                           \
    (c->plan = packed, c->io.lse = c->io.key_lengths = c->io.counters = c->io.workspace = NULL,              \
     c->io.arrays[0] = c->io.list = NULL, c->io.q_offsets = c->io.k_offsets = words)
#define USE_PLAIN (USE_PACKED, c->plan = plain, c->io.q_offsets = c->io.k_offsets = NULL)

/* What is wrong with an enqueue: c is a good call of the plan `full`. */
#define ENQUEUE_MISUSES(X)                                                                                   \
    X(io_null, c->io_at = NULL, NULL_ARGUMENT, "io")                                                         \
    X(io_size_zero, c->io.size = 0, BAD_STRUCT_SIZE, "clattn_io.size is 0")                                  \
    X(io_size_odd, c->io.size++, BAD_STRUCT_SIZE, "clattn_io.size")                                          \
    X(queue_null, c->queue = NULL, NULL_QUEUE, "queue")                                                      \
    X(queue_of_another_context, c->queue = other_queue, WRONG_QUEUE, "context")                              \
    X(wait_null, c->n_wait = 1, BAD_WAIT_LIST, "n_wait is 1")                                                \
    X(wait_without_count, c->wait = &good_event, BAD_WAIT_LIST, "n_wait is 0")                               \
    X(wait_null_event, (c->n_wait = 1, c->wait = null_event), BAD_WAIT_LIST, "wait[0]")                      \
    X(wait_second_null, (c->n_wait = 2, c->wait = two_events(NULL)), BAD_WAIT_LIST, "wait[1]")               \
    X(wait_foreign_event, (c->n_wait = 2, c->wait = two_events(foreign_event)), WRONG_CONTEXT, "wait[1]")    \
    X(wait_failed_event, (c->n_wait = 2, c->wait = two_events(failed_event)), DEPENDENCY_FAILED,             \
      "wait[1] ended with -42")                                                                              \
    X(q_null, c->io.q = NULL, NULL_BUFFER, "io.q")                                                           \
    X(k_null, c->io.k = NULL, NULL_BUFFER, "io.k")                                                           \
    X(v_null, c->io.v = NULL, NULL_BUFFER, "io.v")                                                           \
    X(o_null, c->io.o = NULL, NULL_BUFFER, "io.o")                                                           \
    X(lse_null, c->io.lse = NULL, NULL_BUFFER, "lse")                                                        \
    X(key_lengths_null, c->io.key_lengths = NULL, NULL_BUFFER, "key_lengths")                                \
    X(array_null, c->io.arrays[0] = NULL, NULL_BUFFER, "valid")                                              \
    X(counters_null, c->io.counters = NULL, NULL_BUFFER, "counters")                                         \
    X(list_null, c->io.list = NULL, NULL_BUFFER, "list")                                                     \
    X(list_unasked, (USE_PLAIN, c->io.list = words), UNUSED_BUFFER, "list")                                  \
    X(list_short, c->io.list = tiny, LIST_TOO_SMALL, "list has 3 bytes")                                     \
    X(list_foreign, c->io.list = foreign, WRONG_CONTEXT, "list")                                             \
    X(lse_is_list, c->io.list = lse, OUTPUT_ALIASES_INPUT, "lse and list")                                   \
    X(packed_q_offsets_null, (USE_PACKED, c->io.q_offsets = NULL), NULL_BUFFER, "q_offsets")                 \
    X(packed_k_offsets_null, (USE_PACKED, c->io.k_offsets = NULL), NULL_BUFFER, "k_offsets")                 \
    X(workspace_null, c->io.workspace = NULL, WORKSPACE_MISSING, "workspace")                                \
    X(workspace_short, c->io.workspace = tiny, WORKSPACE_TOO_SMALL, "workspace has 3 bytes")                 \
    X(workspace_offset_too_far, c->io.workspace_offset = 4, WORKSPACE_TOO_SMALL, "workspace")                \
    X(workspace_offset_odd, c->io.workspace_offset = 2, BAD_OFFSET, "workspace_offset is 2")                 \
    X(workspace_offset_negative, c->io.workspace_offset = -4, BAD_OFFSET, "workspace_offset is -4")          \
    X(workspace_offset_overflows, c->io.workspace_offset = INT64_MAX - 3, BAD_OFFSET, "workspace_offset")    \
    X(workspace_unasked, (USE_PLAIN, c->io.workspace = workspace), UNUSED_BUFFER, "workspace")               \
    X(lse_unasked, (USE_PLAIN, c->io.lse = lse), UNUSED_BUFFER, "lse")                                       \
    X(counters_unasked, (USE_PLAIN, c->io.counters = counters), UNUSED_BUFFER, "counters")                   \
    X(q_offsets_unasked, (USE_PLAIN, c->io.q_offsets = words), UNUSED_BUFFER, "q_offsets")                   \
    X(k_offsets_unasked, (USE_PLAIN, c->io.k_offsets = words), UNUSED_BUFFER, "k_offsets")                   \
    X(key_lengths_unasked, (USE_PLAIN, c->io.key_lengths = words), UNUSED_BUFFER, "key_lengths")             \
    X(array_unasked, c->io.arrays[1] = words, UNUSED_BUFFER, "arrays[1]")                                    \
    X(q_short, c->io.q = small, Q_TOO_SMALL, "191 bytes and needs 192")                                      \
    X(k_short, c->io.k = empty_ish, K_TOO_SMALL, "9599 bytes and needs 9600")                                \
    X(v_short, c->io.v = empty_ish, V_TOO_SMALL, "9599 bytes and needs 9600")                                \
    X(o_short, c->io.o = small, O_TOO_SMALL, "191 bytes and needs 192")                                      \
    X(lse_short, c->io.lse = tiny, LSE_TOO_SMALL, "lse has 3 bytes and needs 24")                            \
    X(key_lengths_short, c->io.key_lengths = tiny, LENGTHS_TOO_SMALL, "key_lengths has 3 bytes")             \
    X(q_offsets_short, (USE_PACKED, c->io.q_offsets = tiny), LENGTHS_TOO_SMALL, "q_offsets has 3 bytes")     \
    X(k_offsets_short, (USE_PACKED, c->io.k_offsets = tiny), LENGTHS_TOO_SMALL, "k_offsets has 3 bytes")     \
    X(array_short, c->io.arrays[0] = tiny, ARRAY_TOO_SMALL, "valid has 3 bytes and needs 8")                 \
    X(counters_short, c->io.counters = tiny, COUNTERS_TOO_SMALL, "counters has 3 bytes")                     \
    X(q_foreign, c->io.q = foreign, WRONG_CONTEXT, "q")                                                      \
    X(v_foreign, c->io.v = foreign, WRONG_CONTEXT, "v")                                                      \
    X(o_foreign, c->io.o = foreign, WRONG_CONTEXT, "o")                                                      \
    X(array_foreign, c->io.arrays[0] = foreign, WRONG_CONTEXT, "valid")                                      \
    X(workspace_foreign, c->io.workspace = foreign, WRONG_CONTEXT, "workspace")                              \
    X(o_read_only, c->io.o = read_only, BUFFER_READ_ONLY, "o")                                               \
    X(lse_read_only, c->io.lse = read_only, BUFFER_READ_ONLY, "lse")                                         \
    X(o_is_q, c->io.q = o, OUTPUT_ALIASES_INPUT, "o")                                                        \
    X(o_is_v, c->io.v = o, OUTPUT_ALIASES_INPUT, "o and v")                                                  \
    X(lse_is_key_lengths, c->io.key_lengths = lse, OUTPUT_ALIASES_INPUT, "lse and key_lengths")              \
    X(o_is_lse, c->io.lse = o, OUTPUT_ALIASES_INPUT, "o")                                                    \
    X(workspace_is_key_lengths, c->io.workspace = words, OUTPUT_ALIASES_INPUT, "workspace and key_lengths")

/* X(name, call, status, where its sentence is, part of the sentence) */
#define CALL_MISUSES(X)                                                                                      \
    X(open_null, clattn_context_open(NULL, NULL), NULL_ARGUMENT, NOWHERE, "")                                \
    X(open_unknown_name, open_device("no such device anywhere"), DEVICE_NOT_FOUND, NOWHERE, "")              \
    X(open_index_past_end, open_device("4000000000"), DEVICE_NOT_FOUND, NOWHERE, "")                         \
    X(open_negative_index, open_device("-1"), DEVICE_NOT_FOUND, NOWHERE, "")                                 \
    X(wrap_null, clattn_context_wrap(NULL, cl, device), NULL_ARGUMENT, NOWHERE, "")                          \
    X(wrap_null_context, wrap(NULL, device), NULL_ARGUMENT, NOWHERE, "")                                     \
    X(wrap_null_device, wrap(cl, NULL), NULL_ARGUMENT, NOWHERE, "")                                          \
    X(log_null_context, clattn_context_set_log(NULL, NULL, NULL), NULL_ARGUMENT, NOWHERE, "")                \
    X(cache_null_context, clattn_context_set_cache(NULL, CLATTN_CACHE_OFF, NULL), NULL_ARGUMENT, NOWHERE,    \
      "")                                                                                                    \
    X(cache_mode_unknown, clattn_context_set_cache(ctx, (clattn_cache_mode)9, NULL), BAD_FLAGS, CONTEXT,     \
      "mode is 9")                                                                                           \
    X(helper_null_context, clattn_context_set_build_helper(NULL, NULL, 0), NULL_ARGUMENT, NOWHERE, "")       \
    X(helper_relative, clattn_context_set_build_helper(ctx, "clattn", 9), BAD_HELPER, CONTEXT, "'clattn'")   \
    X(helper_nowhere, clattn_context_set_build_helper(ctx, "/nowhere/clattn", 9), BAD_HELPER, CONTEXT, "/nowhere") \
    X(helper_no_time, clattn_context_set_build_helper(ctx, "/bin/sh", 0), BAD_COUNT, CONTEXT, "seconds is 0") \
    X(message_null_context, clattn_context_message(NULL, sentence, 9), NULL_ARGUMENT, NOWHERE, "")           \
    X(message_null_text, clattn_context_message(ctx, NULL, 9), NULL_ARGUMENT, NOWHERE, "")                   \
    X(message_no_room, clattn_context_message(ctx, sentence, 0), NULL_ARGUMENT, NOWHERE, "")                 \
    X(message_short, clattn_context_message(ctx, sentence, 5), BUFFER_TOO_SHORT, NOWHERE, "")                \
    X(build_log_null_context, clattn_context_build_log(NULL, sentence, 9), NULL_ARGUMENT, NOWHERE, "")       \
    X(build_log_null_text, clattn_context_build_log(ctx, NULL, 9), NULL_ARGUMENT, NOWHERE, "")               \
    X(list_null_count, clattn_list_devices(NULL, 0, NULL), NULL_ARGUMENT, NOWHERE, "")                       \
    X(list_null_devices, clattn_list_devices(NULL, 3, &(size_t){0}), NULL_ARGUMENT, NOWHERE, "")             \
    X(describe_null_device, describe(NULL, sizeof(clattn_device_facts)), NULL_ARGUMENT, NOWHERE, "")         \
    X(describe_null_facts, clattn_device_describe(device, NULL), NULL_ARGUMENT, NOWHERE, "")                 \
    X(describe_bad_size, describe(device, 3), BAD_STRUCT_SIZE, NOWHERE, "")                                  \
    X(engine_past_end, engine(sizeof(clattn_device_facts), 99, sizeof(clattn_engine_fit)), BAD_COUNT,        \
      NOWHERE, "")                                                                                           \
    X(engine_bad_facts, engine(1, 0, sizeof(clattn_engine_fit)), BAD_STRUCT_SIZE, NOWHERE, "")               \
    X(engine_bad_fit, engine(sizeof(clattn_device_facts), 0, 1), BAD_STRUCT_SIZE, NOWHERE, "")               \
    X(engine_null, clattn_engine_describe(NULL, 0, NULL), NULL_ARGUMENT, NOWHERE, "")                        \
    X(check_null, clattn_attention_check(NULL, sentence, sizeof sentence), NULL_ARGUMENT, TEXT, "problem")   \
    X(extent_null, clattn_attention_extent(NULL, 'q', &(int64_t){0}), NULL_ARGUMENT, NOWHERE, "")            \
    X(extent_null_answer, extent('q', NULL), NULL_ARGUMENT, NOWHERE, "")                                     \
    X(extent_of_no_tensor, extent('x', &(int64_t){0}), BAD_COUNT, NOWHERE, "")                               \
    X(extent_of_nul, extent(0, &(int64_t){0}), BAD_COUNT, NOWHERE, "")                                       \
    X(plan_null, clattn_plan_create(NULL, ctx, NULL), NULL_ARGUMENT, NOWHERE, "")                            \
    X(plan_null_context, plan_create(&(clattn_attention)CLATTN_ATTENTION_INIT, NULL), NULL_ARGUMENT,         \
      NOWHERE, "")                                                                                           \
    X(plan_null_problem, plan_create(NULL, ctx), NULL_ARGUMENT, CONTEXT, "problem")                          \
    X(plan_forced_engine_refused, forced_engine(), ENGINE_REFUSED, NOWHERE, "")                              \
    X(explain_null, clattn_plan_explain(NULL, sentence, 9), NULL_ARGUMENT, NOWHERE, "")                      \
    X(explain_null_text, clattn_plan_explain(plain, NULL, 9), NULL_ARGUMENT, CONTEXT, "text")                \
    X(explain_no_room, clattn_plan_explain(plain, sentence, 0), NULL_ARGUMENT, CONTEXT, "text")              \
    X(explain_short, clattn_plan_explain(plain, sentence, 20), BUFFER_TOO_SHORT, CONTEXT, "20 bytes")        \
    X(workspace_null_plan, clattn_workspace_size(NULL, &(uint64_t){0}), NULL_ARGUMENT, NOWHERE, "")          \
    X(workspace_null_answer, clattn_workspace_size(plain, NULL), NULL_ARGUMENT, CONTEXT, "bytes")            \
    X(arrays_changed_null_plan, clattn_plan_arrays_changed(NULL), NULL_ARGUMENT, NOWHERE, "")                \
    X(enqueue_null_plan, clattn_enqueue_forward(NULL, queue, NULL, 0, NULL, NULL), NULL_ARGUMENT, NOWHERE,   \
      "")                                                                                                    \
    X(run_null_plan, clattn_run_forward(NULL, NULL), NULL_ARGUMENT, NOWHERE, "")                             \
    X(run_null_io, clattn_run_forward(plain, NULL), NULL_ARGUMENT, CONTEXT, "io")                            \
    X(run_bad_size, run_without('s'), BAD_STRUCT_SIZE, CONTEXT, "clattn_host_io.size")                       \
    X(run_without_q, run_without('q'), NULL_ARGUMENT, CONTEXT, "io.q")                                       \
    X(run_without_k, run_without('k'), NULL_ARGUMENT, CONTEXT, "io.k")                                       \
    X(run_without_v, run_without('v'), NULL_ARGUMENT, CONTEXT, "io.v")                                       \
    X(run_without_o, run_without('o'), NULL_ARGUMENT, CONTEXT, "io.o")                                       \
    X(run_without_lse, run_without('l'), NULL_ARGUMENT, CONTEXT, "io.lse")                                   \
    X(run_without_key_lengths, run_without('n'), NULL_ARGUMENT, CONTEXT, "io.key_lengths")                   \
    X(run_without_array, run_without('a'), NULL_ARGUMENT, CONTEXT, "valid")                                  \
    X(run_without_list, run_without('i'), NULL_ARGUMENT, CONTEXT, "io.list")                                \
    X(run_without_counters, run_without('c'), NULL_ARGUMENT, CONTEXT, "io.counters")                         \
    X(parse_null, clattn_problem_parse(NULL, "attn:f32", NULL, 0), NULL_ARGUMENT, NOWHERE, "")               \
    X(parse_null_text, parse(NULL, sizeof(clattn_attention)), NULL_ARGUMENT, NOWHERE, "")                    \
    X(parse_bad_size, parse("attn:f32", 1), BAD_STRUCT_SIZE, NOWHERE, "")                                    \
    X(parse_empty, parse("", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT, "column 1")                    \
    X(parse_other_operator, parse("conv:f32", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT, "column 1")   \
    X(parse_unknown_type, parse("attn:f64:q4", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT, "column 6")  \
    X(parse_three_types, parse("attn:f32-f32-f32:q4", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT,       \
      "two (inputs-output)")                                                                                 \
    X(parse_unknown_field, parse("attn:f32:z4", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT,             \
      "column 10")                                                                                           \
    X(parse_number_missing, parse("attn:f32:q:k4", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT,          \
      "column 10")                                                                                           \
    X(parse_number_huge, parse("attn:f32:q99999999999999999999", sizeof(clattn_attention)), PROBLEM_SYNTAX,  \
      TEXT, "column")                                                                                        \
    X(parse_trailing, parse("attn:f32:q4:k4:d8:", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT, "column") \
    X(parse_bad_value, parse("attn:f32:q4:k4:d1000", sizeof(clattn_attention)), BAD_DIM, TEXT,               \
      "dim is 1000")                                                                                         \
    X(parse_bad_heads, parse("attn:f32:h5/2:q4:k4:d8", sizeof(clattn_attention)), HEADS_NOT_DIVISIBLE, TEXT, \
      "heads is 5")                                                                                          \
    X(parse_no_corner, parse("attn:f32:q4:k5:d8:causal", sizeof(clattn_attention)), BAD_CORNER, TEXT,        \
      "CLATTN_TOP_LEFT")                                                                                     \
    X(print_null, clattn_problem_print(NULL, sentence, 9), NULL_ARGUMENT, NOWHERE, "")                       \
    X(print_short_text, print_short(), BUFFER_TOO_SHORT, NOWHERE, "")                                        \
    X(extend_null, clattn_extend_plan_create(NULL, ctx, NULL, NULL), NULL_ARGUMENT, NOWHERE, "")             \
    X(extend_null_select, clattn_extend_plan_create(&(clattn_extend_plan *){NULL}, ctx, NULL, NULL), NULL_ARGUMENT, CONTEXT, \
      "select or problem")                                                                                   \
    X(extend_explain_null, clattn_extend_plan_explain(NULL, sentence, 9), NULL_ARGUMENT, NOWHERE, "")        \
    X(extend_enqueue_null, clattn_enqueue_extend(NULL, queue, &(clattn_extend_io)CLATTN_EXTEND_IO_INIT, 0, NULL, NULL), NULL_ARGUMENT, \
      NOWHERE, "")                                                                                           \
    X(merge_null, clattn_merge_plan_create(NULL, ctx, NULL), NULL_ARGUMENT, NOWHERE, "")                     \
    X(merge_bad_size, merge_size(0), BAD_STRUCT_SIZE, CONTEXT, "clattn_merge.size")                          \
    X(merge_no_parts, merge(0, 4, 4, 0, 0), BAD_COUNT, CONTEXT, "parts is 0")                                \
    X(merge_parts_negative, merge(-3, 4, 4, 0, 0), BAD_COUNT, CONTEXT, "parts is -3")                        \
    X(merge_rows_negative, merge(1, -1, 4, 0, 0), BAD_COUNT, CONTEXT, "rows is -1")                          \
    X(merge_overflows, merge((int64_t)1 << 40, (int64_t)1 << 40, 4, 0, 0), BAD_COUNT, CONTEXT,               \
      "parts is 1099511627776")                                                                              \
    X(merge_rows_many, merge(1, (int64_t)1 << 31, 4, 0, 0), BAD_COUNT, CONTEXT, "rows is 2147483648")        \
    X(merge_dim_v_zero, merge(2, 4, 0, 0, 0), BAD_DIM_V, CONTEXT, "dim_v is 0")                              \
    X(merge_dim_v_large, merge(2, 4, 577, 0, 0), BAD_DIM_V, CONTEXT, "dim_v is 577")                         \
    X(merge_type_parts, merge(2, 4, 4, 9, 0), BAD_TYPE, CONTEXT, "type_parts is 9")                          \
    X(merge_type_o, merge(2, 4, 4, 0, -1), BAD_TYPE, CONTEXT, "type_o is -1")                                \
    X(merge_enqueue_null, clattn_enqueue_merge(NULL, queue, input, input, o, NULL, 0, NULL, NULL),           \
      NULL_ARGUMENT, NOWHERE, "")                                                                            \
    X(merge_null_queue, enqueue_merge(NULL, input, input, o, NULL, 0, NULL), NULL_QUEUE, CONTEXT, "queue")   \
    X(merge_wrong_queue, enqueue_merge(other_queue, input, input, o, NULL, 0, NULL), WRONG_QUEUE, CONTEXT,   \
      "context")                                                                                             \
    X(merge_null_parts, enqueue_merge(queue, NULL, input, o, NULL, 0, NULL), NULL_BUFFER, CONTEXT, "part_o") \
    X(merge_null_part_lse, enqueue_merge(queue, input, NULL, o, NULL, 0, NULL), NULL_BUFFER, CONTEXT,        \
      "part_lse")                                                                                            \
    X(merge_null_o, enqueue_merge(queue, input, input, NULL, NULL, 0, NULL), NULL_BUFFER, CONTEXT, "o")      \
    X(merge_short_parts, enqueue_merge(queue, tiny, input, o, NULL, 0, NULL), O_TOO_SMALL, CONTEXT,          \
      "part_o has 3 bytes")                                                                                  \
    X(merge_short_part_lse, enqueue_merge(queue, input, tiny, o, NULL, 0, NULL), LSE_TOO_SMALL, CONTEXT,     \
      "part_lse has 3")                                                                                      \
    X(merge_short_o, enqueue_merge(queue, input, input, small, NULL, 0, NULL), O_TOO_SMALL, CONTEXT,         \
      "o has 191 bytes")                                                                                     \
    X(merge_short_lse, enqueue_merge(queue, input, input, o, tiny, 0, NULL), LSE_TOO_SMALL, CONTEXT,         \
      "lse has 3 bytes")                                                                                     \
    X(merge_foreign, enqueue_merge(queue, foreign, input, o, NULL, 0, NULL), WRONG_CONTEXT, CONTEXT,         \
      "part_o")                                                                                              \
    X(merge_read_only, enqueue_merge(queue, input, input, read_only, NULL, 0, NULL), BUFFER_READ_ONLY,       \
      CONTEXT, "o")                                                                                          \
    X(merge_alias, enqueue_merge(queue, o, input, o, NULL, 0, NULL), OUTPUT_ALIASES_INPUT, CONTEXT, "o")     \
    X(merge_wait_null, enqueue_merge(queue, input, input, o, NULL, 2, NULL), BAD_WAIT_LIST, CONTEXT,         \
      "n_wait is 2")                                                                                         \
    X(merge_wait_failed, enqueue_merge(queue, input, input, o, NULL, 1, &failed_event), DEPENDENCY_FAILED,   \
      CONTEXT, "-42")                                                                                        \
    X(search_two_ways, search(CLATTN_TREE, CLATTN_PLAIN_SEARCH | CLATTN_MATRIX_SEARCH), BAD_FLAGS, CONTEXT,  \
      "for the plain search and for the matrix engines'")                                                    \
    X(search_of_none, search(CLATTN_STREAMING, CLATTN_PLAIN_SEARCH), BAD_FLAGS, CONTEXT,                     \
      "flags say how to search, and method 6 does not; TREE and STAGED do")                                  \
    X(search_of_bounds, search(CLATTN_MINMAX, CLATTN_MATRIX_SEARCH), BAD_FLAGS, CONTEXT, "method 2 does not") \
    X(search_of_floats, search(CLATTN_STAGED, CLATTN_MATRIX_SEARCH), ENGINE_REFUSED, CONTEXT,                \
      "search=matrix: its tile takes q and k of f16, or of bf16")                                            \
    X(knob_null, clattn_knob_describe(NULL, 0, &(clattn_knob)CLATTN_KNOB_INIT), NULL_ARGUMENT, NOWHERE, "")  \
    X(knob_null_answer, clattn_knob_describe("vector", 0, NULL), NULL_ARGUMENT, NOWHERE, "")                 \
    X(knob_bad_size, clattn_knob_describe("vector", 0, &(clattn_knob){0}), BAD_STRUCT_SIZE, NOWHERE, "")     \
    X(knob_past_end, clattn_knob_describe("vector", 99, &(clattn_knob)CLATTN_KNOB_INIT), BAD_COUNT, NOWHERE, "") \
    X(resolve_null, clattn_tuning_resolve(NULL, NULL, "vector", sentence, 9), NULL_ARGUMENT, NOWHERE, "")    \
    X(resolve_null_text, resolve("vector", NULL, sizeof(clattn_device_facts)), NULL_ARGUMENT, NOWHERE, "")   \
    X(resolve_bad_size, resolve("vector", sentence, 3), BAD_STRUCT_SIZE, NOWHERE, "")                        \
    X(resolve_no_setting, resolve("vector rows=7", sentence, sizeof(clattn_device_facts)), BAD_TUNING, TEXT, "rows=7") \
    X(resolve_refused, resolve("vector", sentence, sizeof(clattn_device_facts)), ENGINE_REFUSED, TEXT, "CPUs only") \
    X(key_null, clattn_tuning_key(NULL, NULL, sentence, 9), NULL_ARGUMENT, NOWHERE, "")                      \
    X(tuning_merge_null, clattn_tuning_merge(NULL, NULL, sentence, 9, NULL, 0), NULL_ARGUMENT, NOWHERE, "")  \
    X(tuning_merge_short, clattn_tuning_merge("clattn-tuning 1\n", NULL, sentence, 9, NULL, 0), BUFFER_TOO_SHORT, NOWHERE, "") \
    X(tuning_merge_rubbish, merge_tuning("clattn-tuning 1\nrubbish\n"), BAD_TUNING, TEXT, "line 2")          \
    X(tuning_path_null, clattn_tuning_path(NULL, 9), NULL_ARGUMENT, NOWHERE, "")                             \
    X(tuning_block_null, clattn_tuning_block_describe(NULL, 0, &(clattn_tuning_block)CLATTN_TUNING_BLOCK_INIT), NULL_ARGUMENT, NOWHERE, \
      "")                                                                                                    \
    X(tuning_block_null_answer, clattn_tuning_block_describe(&(clattn_device_facts)CLATTN_DEVICE_FACTS_INIT, 0, NULL), NULL_ARGUMENT, \
      NOWHERE, "")                                                                                           \
    X(tuning_block_bad_size, clattn_tuning_block_describe(&(clattn_device_facts)CLATTN_DEVICE_FACTS_INIT, 0, &(clattn_tuning_block){0}), \
      BAD_STRUCT_SIZE, NOWHERE, "")                                                                          \
    X(tuning_block_past_end,                                                                                 \
      clattn_tuning_block_describe(&(clattn_device_facts)CLATTN_DEVICE_FACTS_INIT, 99999,                    \
                                   &(clattn_tuning_block)CLATTN_TUNING_BLOCK_INIT),                          \
      BAD_COUNT, NOWHERE, "")                                                                                \
    X(set_tuning_null, clattn_context_set_tuning(NULL, CLATTN_TUNING_ALL), NULL_ARGUMENT, NOWHERE, "")       \
    X(set_tuning_unknown_layer, clattn_context_set_tuning(ctx, 0x10), BAD_FLAGS, CONTEXT, "0x10")            \
    X(add_tuning_null, clattn_context_add_tuning(NULL, "clattn-tuning 1\n"), NULL_ARGUMENT, NOWHERE, "")     \
    X(add_tuning_null_text, clattn_context_add_tuning(ctx, NULL), NULL_ARGUMENT, CONTEXT, "text")            \
    X(add_tuning_empty, clattn_context_add_tuning(ctx, ""), BAD_TUNING, CONTEXT, "line 1")                   \
    X(add_tuning_rubbish, clattn_context_add_tuning(ctx, "clattn-tuning 1\n\ntune | a | b\n"), BAD_TUNING, CONTEXT, "line 3")

/* Calls with a struct of which there is nothing but its size: s.  Others are good enough to come to it. */
#define SHORT_STRUCTS(X)                                                                                     \
    X(attention_check, clattn_attention_check(s, NULL, 0))                                                   \
    X(attention_extent, clattn_attention_extent(s, 'q', &(int64_t){0}))                                      \
    X(plan_create, plan_create(s, ctx))                                                                      \
    X(enqueue_forward, clattn_enqueue_forward(plain, queue, s, 0, NULL, NULL))                               \
    X(run_forward, clattn_run_forward(plain, s))                                                             \
    X(delta_rows, clattn_delta_rows(s, 4, &(clattn_attention)CLATTN_ATTENTION_INIT, NULL, 0))                \
    X(delta_rows_out, clattn_delta_rows(&a, 4, s, NULL, 0))                                                  \
    X(delta_plan_create, clattn_delta_plan_create(&(clattn_delta_plan *){NULL}, ctx, s, 4))                  \
    X(device_describe, clattn_device_describe(device, s))                                                    \
    X(engine_describe, clattn_engine_describe(s, 0, &(clattn_engine_fit)CLATTN_ENGINE_FIT_INIT))             \
    X(engine_describe_fit, clattn_engine_describe(&facts, 0, s))                                             \
    X(quarantine_describe, clattn_quarantine_describe(s, "/nowhere", 0, &(clattn_quarantine)CLATTN_QUARANTINE_INIT)) \
    X(quarantine_describe_entry, clattn_quarantine_describe(&facts, "/nowhere", 0, s))                       \
    X(quarantine_forget, clattn_quarantine_forget(s, "/nowhere", NULL))                                      \
    X(list_fit, clattn_list_fit(s, &a, CLATTN_SCOPE_HEAD, 16, 16, 1))                                        \
    X(list_fit_problem, clattn_list_fit(&list, s, CLATTN_SCOPE_HEAD, 16, 16, 1))                             \
    X(list_bytes, clattn_list_bytes(s, &(uint64_t){0}))                                                      \
    X(list_check, clattn_list_check(s, data, NULL, 0))                                                       \
    X(list_import, clattn_list_import(s, data, &(int64_t){0}, data, 0, 0, NULL, 0))                          \
    X(list_export, clattn_list_export(s, data, &(int64_t){0}, data, 0))                                      \
    X(list_import_bits, clattn_list_import_bits(s, data, &(uint32_t){0}, 1, NULL, 0))                        \
    X(list_export_bits, clattn_list_export_bits(s, data, NULL, &(int64_t){0}))                               \
    X(list_copy, clattn_enqueue_list_copy(ctx, queue, s, input, o, NULL, 0, 0, NULL, NULL))                  \
    X(mechanism_describe, clattn_mechanism_describe(0, s))                                                   \
    X(mechanism_apply, clattn_mechanism_apply(s, "causal", NULL, 0))                                         \
    X(merge_plan_create, clattn_merge_plan_create(&(clattn_merge_plan *){NULL}, ctx, s))                     \
    X(problem_parse, clattn_problem_parse(s, "attn:f32", NULL, 0))                                           \
    X(problem_print, clattn_problem_print(s, sentence, sizeof sentence))                                     \
    X(refresh_check, clattn_refresh_check(s, &select, NULL, 0))                                              \
    X(refresh_check_select, clattn_refresh_check(&refresh, s, NULL, 0))                                      \
    X(refresh_step, clattn_refresh_step(s, NULL, 0, NULL, NULL, NULL, NULL))                                 \
    X(refresh_invalidate, clattn_refresh_invalidate(&(clattn_refresh_state){0}, s, 0))                       \
    X(refresh_describe, clattn_refresh_describe(&(clattn_refresh_state){0}, s, 5, &(clattn_refresh_report){0})) \
    X(named_rule_describe, clattn_named_rule_describe(0, s))                                                 \
    X(pattern_parse, clattn_pattern_parse(&(clattn_pattern){0}, "k <= q", CLATTN_TOP_LEFT, s, NULL, 0))      \
    X(rule_print, clattn_rule_print(s, CLATTN_MASK_RULE, sentence, sizeof sentence))                         \
    X(rule_derivative, clattn_rule_derivative(s, CLATTN_SCORE_RULE, sentence, sizeof sentence))              \
    X(rule_kernel_text, clattn_rule_kernel_text(s, sentence, sizeof sentence))                               \
    X(rule_cost, clattn_rule_cost(s, CLATTN_MASK_RULE, &(int32_t){0}))                                       \
    X(tile_map, clattn_tile_map(s, NULL, 0, 0, 16, 16, &(uint8_t){0}, 1))                                    \
    X(select_check, clattn_select_check(s, &a, NULL, 0))                                                     \
    X(select_check_problem, clattn_select_check(&select, s, NULL, 0))                                        \
    X(select_list, clattn_select_list(s, &select, &a))                                                       \
    X(select_list_select, clattn_select_list(&list, s, &a))                                                  \
    X(select_list_problem, clattn_select_list(&list, &select, s))                                            \
    X(select_preset, clattn_select_preset(s, "hip"))                                                         \
    X(select_parse, clattn_select_parse(s, &a, "attn:f32:tree=64", NULL, 0))                                 \
    X(select_parse_problem, clattn_select_parse(&select, s, "attn:f32:tree=64", NULL, 0))                    \
    X(select_print, clattn_select_print(s, sentence, sizeof sentence))                                       \
    X(select_dense_below, clattn_select_dense_below(s, &a, &(int64_t){0}))                                   \
    X(selected, (clattn_status)clattn_selected(s, CLATTN_TOP_LEFT).error)                                    \
    X(select_plan_create, clattn_select_plan_create(&(clattn_select_plan *){NULL}, ctx, s, &a))              \
    X(select_plan_create_problem, clattn_select_plan_create(&(clattn_select_plan *){NULL}, ctx, &select, s)) \
    X(knob_describe, clattn_knob_describe("vector", 0, s))                                                   \
    X(tuning_resolve, clattn_tuning_resolve(s, &a, "vector", sentence, sizeof sentence))                     \
    X(tuning_resolve_problem, clattn_tuning_resolve(&facts, s, "vector", sentence, sizeof sentence))         \
    X(tuning_key, clattn_tuning_key(s, &a, sentence, sizeof sentence))                                       \
    X(tuning_key_problem, clattn_tuning_key(&facts, s, sentence, sizeof sentence))                           \
    X(tuning_block_describe, clattn_tuning_block_describe(s, 0, &(clattn_tuning_block)CLATTN_TUNING_BLOCK_INIT)) \
    X(tuning_block_describe_block, clattn_tuning_block_describe(&facts, 0, s))

#endif
