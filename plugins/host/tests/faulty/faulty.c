/* faulty.c - a plugin that breaks the rules, for tests of the host.
 *
 *   cc -std=c99 -shared -fPIC -fvisibility=hidden -Wall -Wextra -Werror -I../../../abi -o libfaulty.so faulty.c
 *
 * What breaks when it is used is chosen by the config, key `fault` of the modality `faulty` and of the codec
 * `faulty_codec`; without it both work. What breaks when it is loaded is chosen by a macro:
 *
 *   -DNO_ENTRY         exports another function
 *   -DMAJOR=9          of another major version         -DMINOR=99         of a later minor version
 *   -DNULL_TABLE       the entry returns NULL           -DSMALL            the table's size is 8
 *   -DNULL_COMPONENT   a component is NULL              -DSMALL_COMPONENT  the modality's size is 8
 *   -DBAD_SCHEMA       the schema is no JSON            -DBAD_NAME         a name with a blank that isn't UTF-8
 *   -DTWICE            the modality is there twice      -DTAKEN            the modality is called `table`
 *   -DNO_RUN           the modality has no `run`        -DUNKNOWN_KIND     the modality's kind is 99
 *
 * And -DDEFAULT_FAULT=nan breaks that rule where the config names none, -DDEFAULT_SLEEP=3600.0 sets `sleep_s`,
 * -DMISSING_SYMBOL calls a function that is nowhere. -DVERSION='"0.2.0"' is another version. With -DFITS the modality learns the mean of its values.
 */
#define _POSIX_C_SOURCE 199309L /* nanosleep */

#include "panchroma.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef MAJOR
#define MAJOR PANCHROMA_ABI_MAJOR
#endif
#ifndef MINOR
#define MINOR PANCHROMA_ABI_MINOR
#endif
#ifndef DEFAULT_FAULT
#define DEFAULT_FAULT none
#endif
#ifndef DEFAULT_SLEEP
#define DEFAULT_SLEEP 0.0
#endif
#ifndef VERSION
#define VERSION "0.1.0"
#endif

/* ---- Faults --------------------------------------------------------------------------------------------------- */

#define FAULTS(F)                                                                                                      \
    F(null_instance)    /* `create` gives OK and NULL */                                                               \
    F(create_fails)                                                                                                    \
    F(describe_fails)                                                                                                  \
    F(null_name)        /* a field's name is NULL */                                                                   \
    F(dtype_unknown)    /* a field's type is 9 */                                                                      \
    F(axes_5)           /* a field has five axes */                                                                    \
    F(bad_axis)         /* a field has an axis that isn't there */                                                     \
    F(too_many)         /* `plan` raises a length above the longest */                                                 \
    F(zero_length)      /* `plan` lowers a length to 0 */                                                              \
    F(error)            /* `run` fails, with a message, at row 1; and so the following */                              \
    F(bad_message)      /* with a message that isn't UTF-8 */                                                          \
    F(endless_message)  /* with a message without end */                                                               \
    F(no_message)                                                                                                      \
    F(strange_status)   /* with status 77 */                                                                           \
    F(nothing)          /* with a status that only heads have */                                                       \
    F(long_message)     /* with a message longer than there is room for */                                             \
    F(own_message)      /* with a message of its own in place of the buffer */                                         \
    F(huge)             /* more values than any machine holds */                                                       \
    F(shape)            /* `run` changes the shape of the field's view; and so the following */                        \
    F(dtype)            /* its bits */                                                                                 \
    F(pointers)         /* the pointer of `present` */                                                                 \
    F(data)             /* its pointer */                                                                              \
    F(overrun)          /* 16 bytes behind its end */                                                                  \
    F(unfilled)         /* says valid where it wrote nothing */                                                        \
    F(nan)              /* NaN where valid */                                                                          \
    F(valid_2)          /* 2 in the mask */                                                                            \
    F(present_2)        /* 2 in `present` */                                                                           \
    F(valid_absent)     /* valid where absent */                                                                       \
    F(crash)            /* writes to NULL */                                                                           \
    F(crash_above)      /* the same, if a row begins with a value above 0.95 */                                        \
    F(abort)                                                                                                           \
    F(exit)             /* with 0 */                                                                                   \
    F(prints)           /* to standard output */                                                                       \
    F(fails_above)      /* with a message and no row, if a row begins with a value above 0.95 */                       \
    F(sleep)            /* for `sleep_s` seconds */                                                                    \
    F(nondeterministic) /* each call gives other values */                                                             \
    F(leak)             /* 4096 bytes a call */

#define CODEC_FAULTS(F)                                                                                                \
    F(huge_vocabulary_zero) /* the vocabulary is 0 */                                                                  \
    F(codec_too_many)       /* `plan` raises the number of tokens; called `too_many` in configs */                     \
    F(codec_error)          /* `encode` fails at row 1; called `error` in configs */                                   \
    F(range)                /* a code is the vocabulary */                                                             \
    F(coordinate_inf)       /* a coordinate is infinite */

#define NUMBER(name) FAULT_##name,
enum { FAULT_none, FAULTS(NUMBER) CODEC_FAULTS(NUMBER) FAULT_COUNT };

#define GLUE(a, b) a##b
#define FAULT_NUMBER(name) GLUE(FAULT_, name)

#define TEXT(name) #name,
static const char *const NAMES[FAULT_COUNT] = {"none", FAULTS(TEXT) CODEC_FAULTS(TEXT)};

#define IN_SCHEMA(name) ", \"" #name "\""

/* ---- The config: a test's, so that words may be looked for where they stand ----------------------------------- */

static const char *find(const char *json, const char *quoted_key) {
    const char *at = strstr(json, quoted_key);
    return at == NULL ? NULL : at + strlen(quoted_key) + strspn(at + strlen(quoted_key), ": \t\r\n");
}

/* The fault that the config names, `prefix` put before its name. */
static int fault_of(const char *json, const char *prefix) {
    const char *at = find(json, "\"fault\"");
    const size_t skip = strlen(prefix);
    for (int i = 0; at != NULL && i < FAULT_COUNT; i++) {
        const char *name = strncmp(NAMES[i], prefix, skip) == 0 ? NAMES[i] + skip : NAMES[i];
        const int codecs = i > FAULT_leak;
        if (i != FAULT_none && codecs != (skip > 0)) continue;
        if (strncmp(at + 1, name, strlen(name)) == 0 && at[1 + strlen(name)] == '"') return i;
    }
    return skip > 0 ? FAULT_none : FAULT_NUMBER(DEFAULT_FAULT);
}

typedef struct Faulty {
    int fault;
    uint64_t limit;
    double sleep_s;
    double sum, count, mean; /* what it learns, with -DFITS */
} Faulty;

static PanchromaStatus fail(PanchromaError *error, PanchromaStatus status, int64_t row, const char *message) {
    if (error == NULL) return status;
    error->row = row;
    if (error->message != NULL && strlen(message) < error->capacity) strcpy(error->message, message);
    return status;
}

#ifdef MISSING_SYMBOL
extern void a_function_that_is_nowhere(void);
static void destroy(void *instance) {
    if (instance == NULL) a_function_that_is_nowhere();
    free(instance);
}
#else
static void destroy(void *instance) { free(instance); }
#endif

/* ---- Modality ------------------------------------------------------------------------------------------------- */

static PanchromaStatus create(const PanchromaRequest *request, void **instance, PanchromaError *error) {
    const char *limit = find(request->config, "\"limit\""), *sleep_s = find(request->config, "\"sleep_s\"");
    const int fault = fault_of(request->config, "");
    *instance = NULL;
    if (fault == FAULT_null_instance) return PANCHROMA_OK;
    if (fault == FAULT_create_fails) return fail(error, PANCHROMA_INVALID, -1, "`fault` is `create_fails`");
    Faulty *self = malloc(sizeof *self);
    if (self == NULL) return fail(error, PANCHROMA_FAILED, -1, "out of memory");
    self->fault = fault;
    self->limit = limit == NULL ? 8 : strtoull(limit, NULL, 10);
    self->sum = self->count = self->mean = 0.0;
    self->sleep_s = sleep_s == NULL ? DEFAULT_SLEEP : strtod(sleep_s, NULL);
    *instance = self;
    return PANCHROMA_OK;
}

static PanchromaStatus describe(const void *instance, PanchromaModalityInfo *info) {
    const Faulty *self = instance;
    if (self->fault == FAULT_describe_fails) return PANCHROMA_FAILED;
    info->column_count = 1;
    info->axis_count = 1;
    info->field_count = 1;
    info->valid_axis_count = 1;
    info->valid_axes[0] = 0;
    return PANCHROMA_OK;
}

static PanchromaStatus column(const void *instance, uint32_t index, PanchromaColumn *column) {
    (void)instance;
    if (index != 0) return PANCHROMA_INVALID;
    column->type = PANCHROMA_F32;
    column->depth = 1;
    column->optional = 0;
    column->path = "value";
    return PANCHROMA_OK;
}

static PanchromaStatus axis(const void *instance, uint32_t index, PanchromaAxis *axis) {
    const Faulty *self = instance;
    if (index != 0) return PANCHROMA_INVALID;
    axis->name = "L";
    axis->longest = self->fault == FAULT_huge ? 1u << 31 : self->limit;
    return PANCHROMA_OK;
}

static PanchromaStatus field(const void *instance, uint32_t index, PanchromaField *field) {
    const Faulty *self = instance;
    if (index != 0) return PANCHROMA_INVALID;
    field->type = self->fault == FAULT_dtype_unknown ? 9 : PANCHROMA_F32;
    field->name = self->fault == FAULT_null_name ? NULL : "value";
    field->unit = "";
    field->axis_count = self->fault == FAULT_axes_5 ? 5 : 1;
    field->axes[0] = self->fault == FAULT_bad_axis ? 7 : 0;
    return PANCHROMA_OK;
}

static uint64_t list_of(const PanchromaData *data, uint64_t row, uint64_t *start) {
    *start = data->offsets[0][row];
    return data->present[row] ? data->offsets[0][row + 1] - *start : 0;
}

static PanchromaStatus plan(const void *instance, const PanchromaRows *rows, uint64_t *lengths, PanchromaError *error) {
    const Faulty *self = instance;
    uint64_t longest = 1, start;
    (void)error;
    for (uint64_t row = 0; row < rows->count; row++) {
        const uint64_t count = list_of(rows->columns[0], row, &start);
        if (count > longest) longest = count;
    }
    if (longest < lengths[0] && self->fault != FAULT_huge) lengths[0] = longest;
    if (self->fault == FAULT_too_many) lengths[0] = self->limit + 1;
    if (self->fault == FAULT_zero_length) lengths[0] = 0;
    return PANCHROMA_OK;
}

static void sleep_for(double seconds) {
    struct timespec left;
    left.tv_sec = (time_t)seconds;
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) != 0) {
    }
}

/* What goes wrong before anything is filled; 1 if `run` ends with `status`. */
static int fails_at_once(const Faulty *self, PanchromaError *error, PanchromaStatus *status) {
    volatile int *volatile nowhere = NULL;
    char *volatile lost;
    *status = PANCHROMA_FAILED;
    switch (self->fault) {
    case FAULT_error:
        fail(error, PANCHROMA_FAILED, 1, "`fault` is `error`");
        return 1;
    case FAULT_bad_message:
        fail(error, PANCHROMA_FAILED, -1, "not UTF-8: \xff\xfe\x80");
        return 1;
    case FAULT_endless_message:
        if (error != NULL && error->message != NULL) memset(error->message, 'x', error->capacity);
        return 1;
    case FAULT_no_message:
        return 1;
    case FAULT_long_message:
        if (error != NULL && error->message != NULL) memset(error->message, 'x', error->capacity + 5);
        return 1;
    case FAULT_own_message:
        if (error != NULL) error->message = (char *)"mine";
        return 1;
    case FAULT_nothing:
        *status = PANCHROMA_NOTHING;
        return 1;
    case FAULT_strange_status:
        *status = 77;
        return 1;
    case FAULT_crash:
        *nowhere = 1;
        return 0;
    case FAULT_abort:
        abort();
    case FAULT_exit:
        exit(0);
    case FAULT_prints:
        printf("hello from %s\n", "a plugin");
        fflush(stdout);
        return 0;
    case FAULT_sleep:
        sleep_for(self->sleep_s);
        return 0;
    case FAULT_leak:
        lost = malloc(4096);
        if (lost != NULL) memset(lost, 1, 4096);
        return 0;
    default:
        return 0;
    }
}

static PanchromaStatus run(const void *instance, const PanchromaRows *rows, PanchromaArrays *arrays,
                           PanchromaError *error) {
    static volatile unsigned calls = 0;
    static float elsewhere[1 << 16];
    const Faulty *self = instance;
    const uint64_t length = (uint64_t)arrays->valid->shape[1];
    const float *values = rows->columns[0]->values;
    uint8_t *valid = arrays->valid->data;
    float *to = arrays->fields[0]->data;
    const float added = self->fault == FAULT_nondeterministic ? (float)(calls = calls + 1) : (float)-self->mean;
    PanchromaStatus status;
    if (fails_at_once(self, error, &status)) return status;
    const int above = self->fault == FAULT_crash_above || self->fault == FAULT_fails_above;
    for (uint64_t row = 0; above && row < rows->count; row++) {
        uint64_t start;
        volatile int *volatile nowhere = NULL;
        if (list_of(rows->columns[0], row, &start) == 0 || values[start] <= 0.95f) continue;
        if (self->fault == FAULT_fails_above) return fail(error, PANCHROMA_PANIC, -1, "a value above 0.95");
        *nowhere = 1;
    }
    for (uint64_t row = 0; row < rows->count; row++) {
        uint64_t start;
        const uint64_t count = list_of(rows->columns[0], row, &start);
        for (uint64_t i = 0; i < count && i < length; i++) {
            const float value = values[start + i];
            if (!isfinite(value)) continue;
            if (self->fault != FAULT_unfilled) to[row * length + i] = self->fault == FAULT_nan ? NAN : value + added;
            valid[row * length + i] = self->fault == FAULT_valid_2 ? 2 : 1;
            if (self->fault != FAULT_valid_absent) arrays->present[row] = self->fault == FAULT_present_2 ? 2 : 1;
        }
    }
    if (self->fault == FAULT_shape) arrays->fields[0]->shape[1] += 1;
    if (self->fault == FAULT_dtype) arrays->fields[0]->bits = 64;
    if (self->fault == FAULT_pointers) arrays->present = (uint8_t *)elsewhere;
    if (self->fault == FAULT_data) arrays->fields[0]->data = elsewhere;
    if (self->fault == FAULT_overrun) memset(to + rows->count * length, 0x5A, 16);
    return PANCHROMA_OK;
}

/* ---- Codec: values from -1 to 1 in 16 levels ------------------------------------------------------------------ */

static PanchromaStatus codec_create(const PanchromaRequest *request, void **instance, PanchromaError *error) {
    const PanchromaArraysInfo *arrays = request->arrays;
    const int fits = arrays != NULL && arrays->axis_count == 1 && arrays->field_count == 1 &&
                     arrays->fields[0]->type == PANCHROMA_F32 && arrays->fields[0]->axis_count == 1;
    *instance = NULL;
    if (!fits) return fail(error, PANCHROMA_INVALID, -1, "expected a modality of kind `faulty`");
    Faulty *self = malloc(sizeof *self);
    if (self == NULL) return fail(error, PANCHROMA_FAILED, -1, "out of memory");
    self->fault = fault_of(request->config, "codec_");
    self->limit = arrays->axes[0]->longest;
    self->sleep_s = 0.0;
    *instance = self;
    return PANCHROMA_OK;
}

static PanchromaStatus codec_describe(const void *instance, PanchromaCodecInfo *info) {
    const Faulty *self = instance;
    info->vocabulary = self->fault == FAULT_huge_vocabulary_zero ? 0 : 16;
    info->max_tokens = self->limit;
    info->coordinate_count = 1;
    info->decodes = 1;
    return PANCHROMA_OK;
}

static PanchromaStatus codec_coordinate(const void *instance, uint32_t index, PanchromaCoordinate *coordinate) {
    (void)instance;
    if (index != 0) return PANCHROMA_INVALID;
    coordinate->encoding = PANCHROMA_FOURIER;
    coordinate->name = "place";
    coordinate->unit = "";
    coordinate->smallest = 2.0;
    coordinate->largest = 2000.0;
    coordinate->count = 8;
    coordinate->metadata = 0;
    return PANCHROMA_OK;
}

static PanchromaStatus codec_plan(const void *instance, const PanchromaArrays *arrays, uint64_t *tokens,
                                  PanchromaError *error) {
    const Faulty *self = instance;
    const uint64_t length = (uint64_t)arrays->valid->shape[1];
    (void)error;
    if (length < *tokens) *tokens = length;
    if (self->fault == FAULT_codec_too_many) *tokens = self->limit + 1;
    return PANCHROMA_OK;
}

/* Arrays and tokens have the same places as long as both are of one length. */
static uint64_t shared(const PanchromaTensor *a, const PanchromaTensor *b) {
    return (uint64_t)(a->shape[1] < b->shape[1] ? a->shape[1] : b->shape[1]);
}

static PanchromaStatus encode(const void *instance, const PanchromaArrays *arrays, PanchromaTokens *tokens,
                              PanchromaError *error) {
    const Faulty *self = instance;
    const uint64_t length = (uint64_t)arrays->valid->shape[1], room = (uint64_t)tokens->valid->shape[1];
    const float *values = arrays->fields[0]->data;
    if (self->fault == FAULT_codec_error) return fail(error, PANCHROMA_FAILED, 1, "`fault` is `error`");
    for (uint64_t row = 0; row < arrays->count; row++) {
        for (uint64_t i = 0; i < shared(arrays->valid, tokens->valid); i++) {
            const uint64_t to = row * room + i;
            if (!((const uint8_t *)arrays->valid->data)[row * length + i]) continue;
            const double level = (values[row * length + i] + 1.0) * 8.0;
            ((uint8_t *)tokens->valid->data)[to] = 1;
            ((uint32_t *)tokens->values->data)[to] = self->fault == FAULT_range ? 16
                                                     : level >= 15.0            ? 15
                                                     : level > 0.0              ? (uint32_t)level
                                                                                : 0;
            ((float *)tokens->coordinates->data)[to] = self->fault == FAULT_coordinate_inf ? INFINITY : (float)i;
        }
    }
    return PANCHROMA_OK;
}

static PanchromaStatus decode(const void *instance, const PanchromaTokens *tokens, const PanchromaArrays *like,
                              PanchromaArrays *arrays, PanchromaError *error) {
    const uint64_t length = (uint64_t)arrays->valid->shape[1], room = (uint64_t)tokens->valid->shape[1];
    (void)instance, (void)like, (void)error;
    for (uint64_t row = 0; row < arrays->count; row++) {
        for (uint64_t i = 0; i < shared(arrays->valid, tokens->valid); i++) {
            const uint64_t from = row * room + i, to = row * length + i;
            if (!((const uint8_t *)tokens->valid->data)[from]) continue;
            const uint32_t code = ((const uint32_t *)tokens->values->data)[from];
            ((float *)arrays->fields[0]->data)[to] = (float)code / 8.0f - 0.9375f;
            ((uint8_t *)arrays->valid->data)[to] = 1;
            arrays->present[row] = 1;
        }
    }
    return PANCHROMA_OK;
}

/* ---- The tables, and what is wrong with them ------------------------------------------------------------------ */

#ifdef FITS
/* Learns the mean of the values, which `run` takes away. */
static PanchromaStatus fit(void *instance, const PanchromaRows *rows, PanchromaError *error) {
    Faulty *self = instance;
    if (rows == NULL) {
        if (self->count == 0.0) return fail(error, PANCHROMA_INVALID, -1, "no value to learn from");
        self->mean = self->sum / self->count;
        return PANCHROMA_OK;
    }
    if (self->fault == FAULT_error) return fail(error, PANCHROMA_INVALID, 1, "`fault` is `error`");
    for (uint64_t row = 0; row < rows->count; row++) {
        uint64_t start;
        const uint64_t count = list_of(rows->columns[0], row, &start);
        for (uint64_t i = 0; i < count; i++) {
            const float value = ((const float *)rows->columns[0]->values)[start + i];
            if (!isfinite(value)) continue;
            self->sum += value;
            self->count += 1.0;
        }
    }
    return PANCHROMA_OK;
}

static PanchromaStatus fitted(const void *instance, char *text, uint64_t capacity, uint64_t *length,
                              PanchromaError *error) {
    const Faulty *self = instance;
    char own[64];
    (void)error;
    *length = (uint64_t)snprintf(own, sizeof own, "{\"mean\": %.17g}", self->mean) + 1;
    if (*length <= capacity) memcpy(text, own, *length);
    return PANCHROMA_OK;
}

static PanchromaStatus restore(void *instance, const char *text, PanchromaError *error) {
    Faulty *self = instance;
    const char *mean = find(text, "\"mean\"");
    if (mean == NULL) return fail(error, PANCHROMA_INVALID, -1, "there is no `mean`");
    self->mean = strtod(mean, NULL);
    return PANCHROMA_OK;
}
#endif

static const PanchromaModality MODALITY_FUNCTIONS = {
    .size = sizeof(PanchromaModality),
    .describe = describe,
    .column = column,
    .axis = axis,
    .field = field,
    .plan = plan,
#ifndef NO_RUN
    .run = run,
#endif
#ifdef FITS
    .fit = fit,
    .fitted = fitted,
    .restore = restore,
#endif
};

#ifdef NO_RUN
PanchromaStatus (*const faulty_unused)(const void *, const PanchromaRows *, PanchromaArrays *, PanchromaError *) = run;
#endif

static const PanchromaComponent MODALITY = {
#ifdef SMALL_COMPONENT
    .size = 8,
#else
    .size = sizeof(PanchromaComponent),
#endif
#ifdef UNKNOWN_KIND
    .kind = 99,
#else
    .kind = PANCHROMA_MODALITY,
#endif
    .flags = PANCHROMA_DETERMINISTIC,
#if defined(BAD_NAME)
    .name = "fau lty\xff",
#elif defined(TAKEN)
    .name = "table",
#else
    .name = "faulty",
#endif
    .summary = "breaks the rule that `fault` names",
    .example = "limit = 8\n",
#ifdef BAD_SCHEMA
    .schema = "{\"type\": \"object\", ",
#else
    .schema = "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
              "\"fault\": {\"type\": \"string\", \"default\": \"none\", \"enum\": [\"none\"" FAULTS(IN_SCHEMA) "],"
              " \"description\": \"What goes wrong. Default `none`.\"},"
              "\"limit\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 1000, \"default\": 8,"
              " \"description\": \"Values that are kept of an object. Default 8.\"},"
              "\"sleep_s\": {\"type\": \"number\", \"minimum\": 0, \"default\": 0,"
              " \"description\": \"Seconds of `sleep`. Default 0.\"}}}",
#endif
    .create = create,
    .destroy = destroy,
    .functions = &MODALITY_FUNCTIONS,
};

static const PanchromaCodec CODEC_FUNCTIONS = {
    .size = sizeof(PanchromaCodec),
    .describe = codec_describe,
    .coordinate = codec_coordinate,
    .plan = codec_plan,
    .encode = encode,
    .decode = decode,
};

static const PanchromaComponent CODEC = {
    .size = sizeof(PanchromaComponent),
    .kind = PANCHROMA_CODEC,
    .flags = PANCHROMA_DETERMINISTIC,
    .name = "faulty_codec",
    .summary = "breaks the rule that `fault` names",
    .example = "",
    .schema = "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
              "\"fault\": {\"type\": \"string\", \"default\": \"none\","
              " \"enum\": [\"none\", \"huge_vocabulary_zero\", \"too_many\", \"error\", \"range\", \"coordinate_inf\"],"
              " \"description\": \"What goes wrong. Default `none`.\"}}}",
    .create = codec_create,
    .destroy = destroy,
    .functions = &CODEC_FUNCTIONS,
};

static const PanchromaComponent *const COMPONENTS[] = {
    &MODALITY,
    &CODEC,
#ifdef TWICE
    &MODALITY,
#endif
#ifdef NULL_COMPONENT
    NULL,
#endif
};

static const PanchromaPlugin PLUGIN = {
    .abi = (uint32_t)MAJOR << 16 | (uint32_t)MINOR,
#ifdef SMALL
    .size = 8,
#else
    .size = sizeof(PanchromaPlugin),
#endif
    .name = "faulty",
    .version = VERSION,
    .license = "Apache-2.0 OR MIT",
    .publisher = "Panchroma",
    .component_count = sizeof COMPONENTS / sizeof *COMPONENTS,
    .components = COMPONENTS,
};

#ifdef NO_ENTRY
#define panchroma_plugin another_plugin
#endif

PANCHROMA_EXPORT const PanchromaPlugin *panchroma_plugin(uint32_t host_abi) {
    const PanchromaPlugin *table = &PLUGIN;
    (void)host_abi;
#ifdef NULL_TABLE
    table = NULL;
#endif
    return table;
}
