/* panchroma.h - what a shared library has to offer to be a plugin of Panchroma.
 *
 * A plugin exports one function, `panchroma_plugin`. It returns a table that never changes; everything
 * else is reached through that table. The host never unloads a plugin.
 *
 * Rules that hold everywhere
 *
 *  Versions    The first member of the table is the version of this interface that the plugin was compiled with.
 *              A host reads nothing else before it has compared: another major version, or a minor version above
 *              the host's own, is refused. A plugin is given the host's version, and may return NULL, or the table
 *              of an older version.
 *  Growth      Every struct begins with `size`, set by whoever makes the struct to sizeof. Later minor versions
 *              append members at the end and change nothing else. A member that is behind the size that the other
 *              side declared isn't there: it counts as 0 or NULL. Write only members that you know.
 *              The structs PanchromaText and PanchromaTensor are the exceptions: they never change.
 *  Ownership   Whoever made a thing frees it. Buffers are the host's: `plan` says how much is needed, `run` and the
 *              like fill views of the host's memory and keep no pointer to it. Texts and structs that a plugin
 *              returns by pointer live as long as the instance (or the table) that they came from.
 *  Errors      A function returns a status; if that isn't PANCHROMA_OK, it may have written a text into
 *              `error->message` (UTF-8, ending with a zero byte, at most `error->capacity` bytes with it), and the
 *              number of the row that is to blame into `error->row`. `error` may be NULL.
 *  Unwinding   No exception and no panic may leave a function of a plugin.
 *  Threads     Each function says from which threads it is called:
 *                [any]   from any thread, by many at once, also for one instance
 *                [one]   for one instance, by one thread at a time; other instances may be in use elsewhere
 *  Texts       UTF-8. Those by `const char *` end with a zero byte; a PanchromaText has a length and no zero byte.
 *  Numbers     What a call gives may depend on its arguments alone. A component that keeps that promise to the bit
 *              sets PANCHROMA_DETERMINISTIC, and the host holds it to it.
 *
 * Letters in shapes: B rows (objects) of the batch, T tokens, P values per token, C coordinates, D width of vectors.
 *
 * Licence of this file: Apache-2.0 OR MIT.
 */
#ifndef PANCHROMA_H
#define PANCHROMA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PANCHROMA_ABI_MAJOR 1u
#define PANCHROMA_ABI_MINOR 1u
#define PANCHROMA_ABI (PANCHROMA_ABI_MAJOR << 16 | PANCHROMA_ABI_MINOR)

#if defined(_WIN32)
#define PANCHROMA_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define PANCHROMA_EXPORT __attribute__((visibility("default")))
#else
#define PANCHROMA_EXPORT
#endif

/* ---- Status and errors ------------------------------------------------------------------------------------- */

typedef int32_t PanchromaStatus;
#define PANCHROMA_OK 0
/* The config or a row makes no sense; the message says which and why. */
#define PANCHROMA_INVALID 1
/* Anything else went wrong. */
#define PANCHROMA_FAILED 2
/* A panic or an exception was caught at the border. */
#define PANCHROMA_PANIC 3
/* Of a head: no row of this batch has what it learns from. No error. */
#define PANCHROMA_NOTHING 4

/* Made by the host before each call: `message` empty, `row` -1. */
typedef struct PanchromaError {
    uint32_t size;
    uint32_t capacity; /* bytes behind `message` */
    char *message;
    int64_t row; /* number of the row in this batch that is to blame, or -1 */
} PanchromaError;

/* ---- Values ------------------------------------------------------------------------------------------------ */

/* UTF-8 of a known length, without a zero byte. Never changes. */
typedef struct PanchromaText {
    const char *data;
    uint64_t length;
} PanchromaText;

/* Types of elements. */
#define PANCHROMA_F32 1u
#define PANCHROMA_F64 2u
#define PANCHROMA_U8 3u
#define PANCHROMA_U32 4u
#define PANCHROMA_TEXT 5u /* of columns only */

/* Where memory is, as DLPack numbers it. */
#define PANCHROMA_CPU 1
#define PANCHROMA_CUDA 2

/* A view of memory, laid out as a DLTensor of DLPack 1.x, so that a pointer to one may be cast to the other.
 * Never changes. The host's views are row-major without gaps: `strides` is NULL, `byte_offset` 0. A plugin
 * changes what `data` points at where it is told to fill a view, and never the view itself. */
typedef struct PanchromaTensor {
    void *data;
    int32_t device_type;
    int32_t device_id;
    int32_t ndim;
    uint8_t code; /* 1 unsigned integer, 2 IEEE float */
    uint8_t bits;
    uint16_t lanes; /* 1 */
    int64_t *shape; /* [ndim] */
    int64_t *strides;
    uint64_t byte_offset;
} PanchromaTensor;

/* Modes. */
#define PANCHROMA_TRAIN 0u    /* augmentation allowed */
#define PANCHROMA_EVALUATE 1u /* the same answer every time */

/* Most axes that an array may have behind B. */
#define PANCHROMA_MAX_AXES 4

/* A named axis of a modality's arrays. */
typedef struct PanchromaAxis {
    uint32_t size;
    uint32_t reserved;
    const char *name;
    uint64_t longest; /* greatest length, above 0 */
} PanchromaAxis;

/* One array of a modality: [B, axes...]. */
typedef struct PanchromaField {
    uint32_t size;
    uint32_t type; /* PANCHROMA_F32, _F64, _U8 or _U32 */
    const char *name;
    const char *unit; /* empty for a pure number */
    uint32_t axis_count;
    uint32_t axes[PANCHROMA_MAX_AXES]; /* numbers of axes */
    uint32_t reserved;
} PanchromaField;

/* What a modality's arrays look like, handed to what reads them. */
typedef struct PanchromaArraysInfo {
    uint32_t size;
    uint32_t axis_count;
    const PanchromaAxis *const *axes; /* [axis_count] */
    uint32_t field_count;
    uint32_t valid_axis_count;
    const PanchromaField *const *fields; /* [field_count] */
    uint32_t valid_axes[PANCHROMA_MAX_AXES];
} PanchromaArraysInfo;

/* Arrays of a batch of rows. Where a plugin fills them, the host has set `present` and `valid` to 0. An object without the
 * measurement keeps that. Every value at a place that is valid must be finite; what stands at other places means nothing. */
typedef struct PanchromaArrays {
    uint32_t size;
    uint32_t field_count;
    uint64_t count;                       /* B */
    uint8_t *present;                     /* [B]: 1 where the object has the measurement */
    PanchromaTensor *valid;               /* u8 [B, valid axes...]: 1 where a value was measured */
    PanchromaTensor *const *fields;       /* [field_count] */
} PanchromaArrays;

/* ---- Rows of a catalogue ----------------------------------------------------------------------------------- */

/* A column that a component reads. */
typedef struct PanchromaColumn {
    uint32_t size;
    uint32_t type;     /* PANCHROMA_F32 or _F64: numbers; PANCHROMA_U8: flags; PANCHROMA_TEXT */
    uint32_t depth;    /* levels of lists: 0 for one value per row, 1 for a list, 3 for images of several bands */
    uint32_t optional; /* 1: the catalogue may lack it; then it reads as missing everywhere */
    const char *path;  /* name, dotted into structs: "lightcurve.flux" */
} PanchromaColumn;

/* A column of a batch. A missing row has `present` 0 and no values in its lists. A missing number is NaN, a missing flag 0,
 * a missing text empty; numbers may also be infinite where the catalogue says so. */
typedef struct PanchromaData {
    uint32_t size;
    uint32_t type;
    uint32_t depth;
    uint32_t reserved;
    const uint8_t *present; /* [B] */
    /* [depth], outermost first: list i of a level has the elements offsets[level][i] to offsets[level][i + 1] of the
     * level below; those of the last level are values. Each level begins with 0 and rises; the first has B + 1 entries, each
     * other one more than the last entry of the level above. Without lists, value i is row i's. */
    const uint64_t *const *offsets;
    const void *values;    /* float, double, uint8_t or PanchromaText, by `type` */
    uint64_t value_count;
} PanchromaData;

/* A batch of rows. */
typedef struct PanchromaRows {
    uint32_t size;
    uint32_t column_count;
    uint64_t count;                      /* B */
    const PanchromaText *ids;            /* [B]: names of the objects */
    const PanchromaData *const *columns; /* in the order in which the component asked */
    uint32_t mode;                       /* PANCHROMA_TRAIN or PANCHROMA_EVALUATE */
    uint32_t reserved;
    uint64_t seed;                       /* of the run; 0 in `fit` */
    uint64_t epoch;                      /* how often the data has been seen; 0 for heads */
    /* [B]: a number for each object and epoch that depends on nothing else but the seed and the user's name of the
     * modality or head: start random numbers from it, in training. NULL unless the component set PANCHROMA_RANDOM. */
    const uint64_t *random;
} PanchromaRows;

/* ---- Components -------------------------------------------------------------------------------------------- */

#define PANCHROMA_MODALITY 1u  /* functions: PanchromaModality */
#define PANCHROMA_CODEC 2u     /* functions: PanchromaCodec */
#define PANCHROMA_TOKENIZER 3u /* functions: PanchromaTokenizer, by the extension PANCHROMA_TOKENIZERS */
#define PANCHROMA_HEAD 4u      /* functions: PanchromaHead, by the extension PANCHROMA_HEADS */

/* Promises and wishes of a component. */
#define PANCHROMA_DETERMINISTIC 1u /* the same arguments give the same bits */
#define PANCHROMA_RANDOM 2u        /* wants PanchromaRows.random in training */
#define PANCHROMA_ON_CUDA 4u       /* of tokenizers and heads: may be given tensors on a CUDA device; else all are on the CPU */

/* What a component may know while it is made. */
typedef struct PanchromaRequest {
    uint32_t size;
    uint32_t modality_count;
    const char *config;                /* its table of the config as a JSON object, checked against its schema */
    const char *name;                  /* the user's name of the modality or head */
    const PanchromaArraysInfo *arrays; /* of codecs and tokenizers: what they read; else NULL */
    const char *const *modalities;     /* of heads: [modality_count] the user's names of all modalities */
    uint64_t width;                    /* of heads: D */
} PanchromaRequest;

/* Something that users name by `kind = "NAME"`. */
typedef struct PanchromaComponent {
    uint32_t size;
    uint32_t kind;        /* PANCHROMA_MODALITY, ... */
    uint32_t flags;       /* PANCHROMA_DETERMINISTIC, PANCHROMA_RANDOM */
    uint32_t reserved;
    const char *name;     /* what users write: letters, digits and underscores */
    const char *summary;  /* one line for lists */
    const char *example;  /* body of a TOML table that works, without header and `kind`; may be empty */
    const char *schema;   /* JSON schema (draft 2020-12) of an object: the keys of its table */
    /* [any] Makes an instance from a config that fits the schema. Costs little; reads no data. */
    PanchromaStatus (*create)(const PanchromaRequest *request, void **instance, PanchromaError *error);
    /* [one] Frees it; no other call for it is under way, and none follows. */
    void (*destroy)(void *instance);
    const void *functions; /* table of the kind's functions, whose first member is its `size` */
} PanchromaComponent;

/* Components of a kind that isn't in the first version: what an extension returns. */
typedef struct PanchromaComponents {
    uint32_t size;
    uint32_t count;
    const PanchromaComponent *const *items; /* [count] */
} PanchromaComponents;

/* The table that the entry returns. */
typedef struct PanchromaPlugin {
    uint32_t abi;          /* PANCHROMA_ABI. The place of this member never changes. */
    uint32_t size;
    const char *name;      /* letters, digits, hyphens and underscores */
    const char *version;   /* such as "1.2.0" */
    const char *license;   /* SPDX expression, such as "MIT" */
    const char *publisher; /* who answers for it; may be empty */
    uint32_t component_count;
    uint32_t reserved;
    const PanchromaComponent *const *components; /* [component_count]: modalities and codecs */
    /* [any] The extension called `id`, or NULL if there is none; may be NULL itself. */
    const void *(*extension)(const char *id);
} PanchromaPlugin;

/* The entry, which the plugin defines. [any] Fast, without side effects, the same answer every time. `host_abi` is the
 * host's PANCHROMA_ABI. */
PANCHROMA_EXPORT const PanchromaPlugin *panchroma_plugin(uint32_t host_abi);
typedef const PanchromaPlugin *(*PanchromaEntry)(uint32_t host_abi);
#define PANCHROMA_ENTRY "panchroma_plugin"

/* ---- Modality: rows -> arrays ------------------------------------------------------------------------------ */

/* Sizes of a modality, for its getters. */
typedef struct PanchromaModalityInfo {
    uint32_t size;
    uint32_t column_count;
    uint32_t axis_count;
    uint32_t field_count; /* at least 1 */
    uint32_t valid_axis_count;
    uint32_t valid_axes[PANCHROMA_MAX_AXES]; /* numbers of the axes of the mask, behind B */
} PanchromaModalityInfo;

typedef struct PanchromaModality {
    uint32_t size;
    uint32_t reserved;
    /* [any] What it reads and gives; always the same for one instance. The host has set `size`. */
    PanchromaStatus (*describe)(const void *instance, PanchromaModalityInfo *info);
    PanchromaStatus (*column)(const void *instance, uint32_t index, PanchromaColumn *column);
    PanchromaStatus (*axis)(const void *instance, uint32_t index, PanchromaAxis *axis);
    PanchromaStatus (*field)(const void *instance, uint32_t index, PanchromaField *field);
    /* [any] How long each axis must be for these rows. `lengths` [axis_count] holds the longest, and may be lowered
     * down to 1. May be NULL: then every axis has its longest. */
    PanchromaStatus (*plan)(const void *instance, const PanchromaRows *rows, uint64_t *lengths, PanchromaError *error);
    /* [any] Fills `arrays`: row i of the arrays comes from row i of the rows alone. */
    PanchromaStatus (*run)(const void *instance, const PanchromaRows *rows, PanchromaArrays *arrays, PanchromaError *error);

    /* Since 1.1: what a modality learns from the training split, such as the centre and width of values. All three are there,
     * or none.
     * [one] Before anything is prepared: once for each part of the split, and once with `rows` NULL, when that was all. */
    PanchromaStatus (*fit)(void *instance, const PanchromaRows *rows, PanchromaError *error);
    /* [any] What it learned, as JSON with a zero byte at its end, for checkpoints: sets `length` to the bytes that it takes, and
     * writes it into `text` if that is no more than `capacity`. */
    PanchromaStatus (*fitted)(const void *instance, char *text, uint64_t capacity, uint64_t *length, PanchromaError *error);
    /* [one] Takes back what `fitted` gave, in place of `fit`. */
    PanchromaStatus (*restore)(void *instance, const char *text, PanchromaError *error);
} PanchromaModality;

/* ---- Tokens ------------------------------------------------------------------------------------------------ */

/* How a coordinate of tokens goes into the model. */
#define PANCHROMA_FOURIER 1u  /* waves with periods from `smallest` to `largest`, evenly in logarithm */
#define PANCHROMA_LOG 2u      /* the same of the decimal logarithm of values from `smallest` to `largest` */
#define PANCHROMA_CATEGORY 3u /* a learned vector for each integer below `count` */

/* A physical coordinate of tokens. */
typedef struct PanchromaCoordinate {
    uint32_t size;
    uint32_t encoding;
    const char *name;
    const char *unit;
    double smallest;
    double largest;
    uint32_t count;    /* number of periods, or of categories */
    uint32_t metadata; /* 1: says how the measurement was made, not where the token stands */
} PanchromaCoordinate;

/* Tokens of a batch. Where a plugin fills them, the host has set `valid` to 0. */
typedef struct PanchromaTokens {
    uint32_t size;
    uint32_t reserved;
    uint64_t count;               /* B */
    const uint8_t *present;       /* [B]: as in the arrays */
    PanchromaTensor *valid;       /* u8 [B, T]: 1 where a token says something */
    PanchromaTensor *values;      /* codes u32 [B, T], or patches f32 [B, T, P]; finite throughout where valid */
    PanchromaTensor *coordinates; /* f32 [B, T, C]; NaN is unknown. NULL if there are none: then tokens are numbered */
} PanchromaTokens;

/* ---- Codec: arrays -> codes -> arrays ---------------------------------------------------------------------- */

typedef struct PanchromaCodecInfo {
    uint32_t size;
    uint32_t vocabulary;       /* codes are below it */
    uint64_t max_tokens;       /* greatest T */
    uint32_t coordinate_count; /* C; 0: tokens are numbered */
    uint32_t decodes;          /* 1 if `decode` is there */
} PanchromaCodecInfo;

typedef struct PanchromaCodec {
    uint32_t size;
    uint32_t reserved;
    /* [any] Always the same for one instance. */
    PanchromaStatus (*describe)(const void *instance, PanchromaCodecInfo *info);
    PanchromaStatus (*coordinate)(const void *instance, uint32_t index, PanchromaCoordinate *coordinate);
    /* [any] How many tokens these arrays need: `tokens` holds max_tokens, and may be lowered down to 1. May be NULL. */
    PanchromaStatus (*plan)(const void *instance, const PanchromaArrays *arrays, uint64_t *tokens, PanchromaError *error);
    /* [any] Arrays -> codes. */
    PanchromaStatus (*encode)(const void *instance, const PanchromaArrays *arrays, PanchromaTokens *tokens, PanchromaError *error);
    /* [any] Codes -> arrays, whose shapes the host has chosen: those of `like`, which holds the measurement that is asked for,
     * or, if `like` is NULL, the longest. May be NULL. */
    PanchromaStatus (*decode)(const void *instance, const PanchromaTokens *tokens, const PanchromaArrays *like,
                              PanchromaArrays *arrays, PanchromaError *error);
} PanchromaCodec;

/* ---- What learns: parameters belong to the host ------------------------------------------------------------- */

/* Initial values. */
#define PANCHROMA_ZEROS 1u
#define PANCHROMA_CONSTANT 2u /* `value` */
#define PANCHROMA_NORMAL 3u   /* standard deviation `value`, cut at three of them */
#define PANCHROMA_UNIFORM 4u  /* from -`value` to `value` */

/* A parameter: the host makes, optimises and saves it. */
typedef struct PanchromaParameter {
    uint32_t size;
    uint32_t init;
    const char *name; /* letters, digits, underscores and dots */
    double value;
    uint32_t decay; /* 1 if weight decay applies: matrices */
    uint32_t axis_count;
    uint64_t shape[PANCHROMA_MAX_AXES];
} PanchromaParameter;

/* What a computation may depend on besides its inputs. Every tensor of a computation is f32, none is NULL unless that is
 * said, and all are on one device. */
typedef struct PanchromaCompute {
    uint32_t size;
    uint32_t mode;
    uint64_t seed;
    uint64_t step; /* of the optimizer */
    /* CUDA stream that the call has to use where tensors are on a CUDA device; NULL on the CPU. */
    void *stream;
} PanchromaCompute;

/* ---- Tokenizer with parameters: arrays -> patches -> vectors ------------------------------------------------ */

/* plugin->extension(PANCHROMA_TOKENIZERS) gives PanchromaComponents of the kind PANCHROMA_TOKENIZER. */
#define PANCHROMA_TOKENIZERS "panchroma.tokenizers.1"

typedef struct PanchromaTokenizerInfo {
    uint32_t size;
    uint32_t coordinate_count; /* C; 0: tokens are numbered */
    uint64_t max_tokens;       /* greatest T */
    uint64_t width;            /* P: values of a token that `run` gives */
    uint64_t outputs;          /* values of a token that `forward` gives; 0: there is no `forward` */
    uint32_t parameter_count;
    uint32_t reserved;
} PanchromaTokenizerInfo;

typedef struct PanchromaTokenizer {
    uint32_t size;
    uint32_t reserved;
    /* [any] Always the same for one instance. */
    PanchromaStatus (*describe)(const void *instance, PanchromaTokenizerInfo *info);
    PanchromaStatus (*coordinate)(const void *instance, uint32_t index, PanchromaCoordinate *coordinate);
    PanchromaStatus (*parameter)(const void *instance, uint32_t index, PanchromaParameter *parameter);
    /* [any] As of a codec. */
    PanchromaStatus (*plan)(const void *instance, const PanchromaArrays *arrays, uint64_t *tokens, PanchromaError *error);
    /* [any] Arrays -> patches, without parameters. */
    PanchromaStatus (*run)(const void *instance, const PanchromaArrays *arrays, PanchromaTokens *tokens, PanchromaError *error);
    /* [any] In both of these `compute` is that of evaluation: this map draws nothing.
     * Finite for all finite patches: those of padding are 0, and before training made-up ones are tried.
     * Patches [N, P] -> `outputs` [N, outputs], with parameters in their order; N counts tokens of the whole batch. */
    PanchromaStatus (*forward)(const void *instance, const PanchromaCompute *compute, const PanchromaTensor *patches,
                               const PanchromaTensor *const *parameters, PanchromaTensor *outputs, PanchromaError *error);
    /* [any] From the gradient of the outputs to those of patches and parameters, which begin as 0 and are added to. */
    PanchromaStatus (*backward)(const void *instance, const PanchromaCompute *compute, const PanchromaTensor *patches,
                                const PanchromaTensor *const *parameters, const PanchromaTensor *outputs_gradient,
                                PanchromaTensor *patches_gradient, PanchromaTensor *const *parameters_gradients,
                                PanchromaError *error);
} PanchromaTokenizer;

/* ---- Head: vectors -> loss and predictions ------------------------------------------------------------------ */

/* plugin->extension(PANCHROMA_HEADS) gives PanchromaComponents of the kind PANCHROMA_HEAD. */
#define PANCHROMA_HEADS "panchroma.heads.1"

/* Which vectors a head gets. */
#define PANCHROMA_JOINT 1u    /* one per object, over all its modalities */
#define PANCHROMA_ISOLATED 2u /* one per object and modality, each encoded as if it were alone */

typedef struct PanchromaHeadInfo {
    uint32_t size;
    uint32_t view;
    uint32_t column_count;
    uint32_t parameter_count;
    uint64_t outputs; /* predictions per object; 0: none */
} PanchromaHeadInfo;

/* What a head sees of a batch. */
typedef struct PanchromaHeadInput {
    uint32_t size;
    uint32_t input_count;                 /* 1 (joint), or the number of modalities in the order of the request */
    const PanchromaTensor *const *inputs; /* f32 [B, D] each */
    const uint8_t *const *present;        /* [B] each: rows that are absent hold zeros */
    const PanchromaRows *rows;            /* with the columns that the head asked for */
} PanchromaHeadInput;

typedef struct PanchromaHead {
    uint32_t size;
    uint32_t reserved;
    /* [any] Always the same for one instance. */
    PanchromaStatus (*describe)(const void *instance, PanchromaHeadInfo *info);
    PanchromaStatus (*column)(const void *instance, uint32_t index, PanchromaColumn *column);
    PanchromaStatus (*parameter)(const void *instance, uint32_t index, PanchromaParameter *parameter);
    /* [any] `loss` is a mean over the rows that count; `predictions` f32 [B, outputs] (NULL if outputs is 0), in the units
     * of the data. PANCHROMA_NOTHING if no row counts: then there is no loss, but there are predictions. */
    PanchromaStatus (*forward)(const void *instance, const PanchromaCompute *compute, const PanchromaHeadInput *input,
                               const PanchromaTensor *const *parameters, float *loss, PanchromaTensor *predictions,
                               PanchromaError *error);
    /* [any] Gradients of the loss in inputs and parameters, which begin as 0 and are added to. */
    PanchromaStatus (*backward)(const void *instance, const PanchromaCompute *compute, const PanchromaHeadInput *input,
                                const PanchromaTensor *const *parameters, PanchromaTensor *const *inputs_gradients,
                                PanchromaTensor *const *parameters_gradients, PanchromaError *error);
} PanchromaHead;

#ifdef __cplusplus
}
#endif
#endif
