/* SPDX-License-Identifier: MIT
 * status.h - the result of every call: one list of codes and sentences.
 *
 * The codes lie below -10000, clear of OpenCL's own, its extensions' and CLBlast's, so that a raw
 * OpenCL code may be kept beside one (clattn_context_cl_error).  Codes never change their meaning;
 * new ones are added at the end of their block.
 */
#ifndef CLATTN_STATUS_H
#define CLATTN_STATUS_H

#include <clattn/export.h>

/* X(name, code, sentence) */
#define CLATTN_STATUS_LIST(X)                                                                            \
    X(OK, 0, "success")                                                                                  \
    /* arguments of a call */                                                                            \
    X(NULL_ARGUMENT, -10001, "a required pointer is NULL")                                               \
    X(BAD_STRUCT_SIZE, -10002, "the struct's size field is not one this library knows; use its INIT macro") \
    X(BAD_HANDLE, -10003, "the handle is not a live clattn object of this kind")                         \
    X(FORKED, -10004, "the object was made before fork(); OpenCL does not survive that, make a new one") \
    X(BUFFER_TOO_SHORT, -10005, "the text buffer is too short for the answer")                           \
    /* devices and contexts */                                                                           \
    X(NO_PLATFORM, -10020, "no OpenCL platform is installed; install a driver, for example pocl-opencl-icd") \
    X(NO_DEVICE, -10021, "OpenCL platforms are installed but none offers a device")                      \
    X(DEVICE_NOT_FOUND, -10022, "no OpenCL device matches the selector; `clattn devices` lists them")    \
    X(DEVICE_NOT_IN_CONTEXT, -10023, "the device does not belong to the cl_context")                     \
    X(DEVICE_UNUSABLE, -10024, "the device lacks what every engine needs")                               \
    /* the problem */                                                                                    \
    X(BAD_BATCH, -10040, "batch must be 0 or more")                                                      \
    X(BAD_HEADS, -10041, "heads must be 1 or more")                                                      \
    X(BAD_KV_HEADS, -10042, "kv_heads must be 1 or more")                                                \
    X(HEADS_NOT_DIVISIBLE, -10043, "kv_heads must divide heads")                                         \
    X(BAD_Q_LEN, -10044, "q_len must be from 0 to 2^30")                                                 \
    X(BAD_KV_LEN, -10045, "kv_len must be from 0 to 2^30")                                               \
    X(BAD_DIM, -10046, "dim must be from 1 to 576")                                                      \
    X(BAD_DIM_V, -10047, "dim_v must be from 1 to 576")                                                  \
    X(BAD_SCALE, -10048, "scale must be a finite number")                                                \
    X(BAD_TYPE, -10049, "a tensor type must be CLATTN_F32, CLATTN_F16 or CLATTN_BF16")                   \
    X(BAD_STRIDE, -10050, "a stride must be 0 or more, or CLATTN_DENSE")                                 \
    X(BAD_OFFSET, -10051, "an element offset must be 0 or more")                                         \
    X(OVERLAPPING_OUTPUT, -10052, "the strides of an output let two of its elements share memory")       \
    X(SIZE_OVERFLOW, -10053, "the tensor's extent does not fit 64-bit byte offsets")                     \
    X(BAD_TOTAL, -10054, "packed lengths need q_total and kv_total from 0 to 2^31 - 1")                  \
    X(LENGTHS_CONFLICT, -10055, "packed offsets and key lengths exclude each other")                     \
    X(BAD_ENGINE, -10056, "the engine's name is not known; `clattn devices` lists the engines")          \
    X(BAD_FLAGS, -10057, "an unknown flag bit is set")                                                   \
    X(BAD_CORNER, -10058, "the corner must be CLATTN_TOP_LEFT or CLATTN_BOTTOM_RIGHT")                   \
    X(BAD_COUNT, -10059, "a count is out of its range")                                                  \
    X(BAD_NORMALISER, -10060, "the normaliser is not known, or does not go with the weight rule")        \
    X(BAD_SCALAR, -10061, "a scalar's type or value is not one that expressions have")                   \
    X(BAD_ARRAY, -10062, "an array's type or dimensions are not ones that expressions have")             \
    X(BAD_BLOCK, -10063, "a size of blocks, a stride or a stage of a selection is not one that fits the others") \
    X(BAD_LIST, -10064, "a list of blocks does not rise, is too long, or names a block that is not there") \
    X(BAD_SELECTOR, -10065, "a selection's method, scope, representative or rope is not known, or not for it") \
    /* expressions and names */                                                                          \
    X(EXPR_SYNTAX, -10070, "the expression does not parse")                                              \
    X(EXPR_TYPE, -10071, "the expression mixes numbers and conditions")                                  \
    X(EXPR_NAME, -10072, "the expression names something that is neither an index nor declared")         \
    X(EXPR_LIMIT, -10073, "the expression is longer, deeper or larger than the language allows")         \
    X(EXPR_NUMBER, -10074, "a number in the expression does not fit 32 bits")                            \
    X(BAD_NAME, -10075, "a name must be a letter followed by letters, digits or _, 15 at most")          \
    X(DUPLICATE_NAME, -10076, "two scalars or arrays have the same name, or an index has it")            \
    X(CORNERS_DIFFER, -10077, "patterns of different corners cannot be combined")                        \
    X(PROBLEM_SYNTAX, -10078, "the problem text is not in the problem language")                         \
    X(BAD_TUNING, -10080, "this is no text of tuning; clattn_tuning(5) has its form")                    \
    X(UNKNOWN_MECHANISM, -10079, "no mechanism has this name; clattn_mechanism_describe lists them")     \
    /* plans */                                                                                          \
    X(NO_ENGINE, -10090, "no engine can run this problem on this device")                                \
    X(ENGINE_REFUSED, -10091, "the forced engine refuses this problem or device")                        \
    X(BUILD_FAILED, -10092, "the device's compiler refused a kernel; clattn_context_build_log has its words") \
    X(SELF_TEST_FAILED, -10093, "the first launch gave wrong numbers; the driver miscompiles this kernel") \
    X(KERNEL_TEXT, -10094, "a kernel text is missing or the override folder's file cannot be read")      \
    X(BAD_HELPER, -10096, "the build helper cannot be started; give the absolute path of the program clattn") \
    X(PLAN_DEAD, -10095, "the device was lost; destroy the plan and the context, and open a new one")    \
    /* enqueue */                                                                                        \
    X(NULL_QUEUE, -10110, "the command queue is NULL")                                                   \
    X(WRONG_QUEUE, -10111, "the command queue belongs to another context or device than the plan")       \
    X(NULL_BUFFER, -10112, "a buffer that the plan needs is NULL")                                       \
    X(UNUSED_BUFFER, -10113, "a buffer was given that the plan was not created for")                     \
    X(WRONG_CONTEXT, -10114, "a buffer or event belongs to another OpenCL context than the plan")        \
    X(Q_TOO_SMALL, -10115, "the q buffer is smaller than the problem's q")                               \
    X(K_TOO_SMALL, -10116, "the k buffer is smaller than the problem's k")                               \
    X(V_TOO_SMALL, -10117, "the v buffer is smaller than the problem's v")                               \
    X(O_TOO_SMALL, -10118, "the o buffer is smaller than the problem's o")                               \
    X(LSE_TOO_SMALL, -10119, "the lse buffer is smaller than the problem's lse")                         \
    X(LENGTHS_TOO_SMALL, -10120, "a buffer of lengths or offsets is too small")                          \
    X(ARRAY_TOO_SMALL, -10121, "a named array's buffer is smaller than the array")                       \
    X(WORKSPACE_TOO_SMALL, -10122, "the workspace is smaller than clattn_workspace_size says")           \
    X(WORKSPACE_MISSING, -10123, "the plan was created with CLATTN_CALLER_WORKSPACE and none was given") \
    X(OUTPUT_ALIASES_INPUT, -10124, "an output buffer is also an input")                                 \
    X(BUFFER_READ_ONLY, -10125, "an output buffer was created with CL_MEM_READ_ONLY")                    \
    X(BAD_WAIT_LIST, -10126, "the wait list's count and pointer disagree, or an event in it is NULL")    \
    X(DEPENDENCY_FAILED, -10127, "an event in the wait list has already failed")                         \
    X(BAD_MEM_OBJECT, -10128, "the memory object is not an OpenCL buffer")                               \
    X(COUNTERS_TOO_SMALL, -10129, "the tile counter buffer is smaller than 16 bytes")                    \
    X(LIST_TOO_SMALL, -10130, "the list's buffer is smaller than clattn_list_bytes says")               \
    X(SCORES_TOO_SMALL, -10131, "the buffer of given scores is smaller than a score for each block of each list") \
    X(BOUNDS_TOO_SMALL, -10132, "the buffer of bounds is smaller than clattn_select_bounds_size says")  \
    X(KEPT_TOO_SMALL, -10133, "the buffer of kept stages is smaller than clattn_select_kept_size says")  \
    X(CERTIFIED_TOO_SMALL, -10134, "the buffer of certificates is smaller than an int32 for each list") \
    X(ROPE_TOO_SMALL, -10136, "a table of cosines or sines is smaller than rope_positions rows of dim / 2") \
    X(BUDGETS_TOO_SMALL, -10137, "the buffer of budgets is smaller than an int32 for each scope")        \
    /* the machine */                                                                                    \
    X(OUT_OF_HOST_MEMORY, -10150, "the host is out of memory")                                           \
    X(OUT_OF_DEVICE_MEMORY, -10151, "the device is out of memory")                                       \
    X(OPENCL_FAILED, -10152, "an OpenCL call failed; clattn_context_cl_error has its code")              \
    X(INTERNAL, -10199, "the library contradicts itself; please report this with the problem text")

typedef enum clattn_status {
#define CLATTN_STATUS_ENUM(name, code, sentence) CLATTN_##name = code,
    CLATTN_STATUS_LIST(CLATTN_STATUS_ENUM)
#undef CLATTN_STATUS_ENUM
        CLATTN_STATUS_FORCE_INT = 0x7fffffff
} clattn_status;

CLATTN_BEGIN
/* Return the name of a status, as "CLATTN_BAD_DIM"; "CLATTN_UNKNOWN" for other numbers.  Static. */
CLATTN_API const char *clattn_status_name(clattn_status status);
/* Return the sentence of a status, without the details that clattn_context_message adds.  Static. */
CLATTN_API const char *clattn_status_text(clattn_status status);
CLATTN_END

#endif
