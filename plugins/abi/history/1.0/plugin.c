/* first-light - a plugin of Panchroma.
 *
 * It works as it is: a modality `first_light` that reads two lists per object, times and values. Change it to what your
 * instrument measures. What every function has to do, and may not do, is written in panchroma.h beside this file; read
 * its first page once. `make` builds the plugin; `panchroma plugins check .` tries it.
 *
 * Read this file from its end: the entry returns a table, the table names the components, each has its functions.
 */
#include "panchroma.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one [modality.NAME] of a user's config becomes. Functions get it as `instance`. They are called from many
 * threads at once, so nothing but `create` writes to it. */
typedef struct FirstLight {
    uint64_t longest;
    char time[256], value[256]; /* paths of the columns */
} FirstLight;

/* Says what is wrong in `error`, and with which row of the batch (-1 for none). Write for the user who reads it: what
 * was expected, what was found. */
static PanchromaStatus fail(PanchromaError *error, PanchromaStatus status, int64_t row, const char *format, ...) {
    if (error == NULL) return status;
    error->row = row;
    if (error->message == NULL || error->capacity == 0) return status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, error->capacity, format, arguments);
    va_end(arguments);
    return status;
}

/* ---- The config ----------------------------------------------------------------------------------------------- */

/* Behind the text that begins at `at`; NULL if it doesn't end. */
static const char *skip_text(const char *at) {
    for (at++; *at != '"'; at++) {
        if (*at == '\\') at++;
        if (*at == '\0') return NULL;
    }
    return at + 1;
}

/* The value of a key in a JSON object of numbers, flags and texts; NULL if it isn't there. Use a JSON library if your
 * config holds more than that. The host has checked the config against the schema at the end of this file. */
static const char *find(const char *json, const char *key) {
    const char *blank = " \t\r\n";
    const char *at = json + strspn(json, blank);
    if (*at != '{') return NULL;
    do {
        at++;
        at += strspn(at, blank);
        if (*at != '"') return NULL;
        const char *name = at + 1, *end = skip_text(at);
        if (end == NULL) return NULL;
        at = end + strspn(end, blank);
        if (*at != ':') return NULL;
        at++;
        at += strspn(at, blank);
        if ((size_t)(end - 1 - name) == strlen(key) && memcmp(name, key, strlen(key)) == 0) return at;
        at = *at == '"' ? skip_text(at) : at + strcspn(at, ",} \t\r\n");
        if (at == NULL) return NULL;
        at += strspn(at, blank);
    } while (*at == ',');
    return NULL;
}

/* [any] Makes an instance. Check here what a schema can't say, so that a user hears of it before training starts. */
static PanchromaStatus create(const PanchromaRequest *request, void **instance, PanchromaError *error) {
    const char *longest = find(request->config, "longest"), *column = find(request->config, "column");
    FirstLight *self = calloc(1, sizeof *self);
    if (self == NULL) return fail(error, PANCHROMA_FAILED, -1, "out of memory");
    self->longest = longest == NULL ? 64 : strtoull(longest, NULL, 10);
    const char *text = column == NULL ? "first_light" : column + 1;
    const size_t length = column == NULL ? strlen(text) : strcspn(text, "\"");
    if (length > 200 || memchr(text, '\\', length) != NULL) {
        free(self);
        return fail(error, PANCHROMA_INVALID, -1, "`column` is too long or has a backslash");
    }
    snprintf(self->time, sizeof self->time, "%.*s.time", (int)length, text);
    snprintf(self->value, sizeof self->value, "%.*s.value", (int)length, text);
    *instance = self;
    return PANCHROMA_OK;
}

static void destroy(void *instance) { free(instance); }

/* ---- What it reads and gives ---------------------------------------------------------------------------------- */

/* Named and shaped as those of the built-in `time_series`: any tokenizer that reads its arrays reads these too. */
enum { TIME, VALUES, FIELDS };

static PanchromaStatus describe(const void *instance, PanchromaModalityInfo *info) {
    (void)instance;
    info->column_count = 2;
    info->axis_count = 2;
    info->field_count = FIELDS;
    info->valid_axis_count = 1; /* the mask is [B, L]: one flag per place, for all its values */
    info->valid_axes[0] = 0;
    return PANCHROMA_OK;
}

/* Columns of the catalogue, read as the type that you ask for. `depth` 1 is a list per object, 0 one number. */
static PanchromaStatus column(const void *instance, uint32_t index, PanchromaColumn *column) {
    const FirstLight *self = instance;
    if (index >= 2) return PANCHROMA_INVALID;
    column->type = PANCHROMA_F32;
    column->depth = 1;
    column->optional = 0;
    column->path = index == 0 ? self->time : self->value;
    return PANCHROMA_OK;
}

static PanchromaStatus axis(const void *instance, uint32_t index, PanchromaAxis *axis) {
    const FirstLight *self = instance;
    if (index >= 2) return PANCHROMA_INVALID;
    axis->name = index == 0 ? "L" : "F";
    axis->longest = index == 0 ? self->longest : 1;
    return PANCHROMA_OK;
}

static PanchromaStatus field(const void *instance, uint32_t index, PanchromaField *field) {
    (void)instance;
    if (index >= FIELDS) return PANCHROMA_INVALID;
    field->type = PANCHROMA_F32;
    field->name = index == TIME ? "time" : "values";
    field->unit = index == TIME ? "day" : "";
    field->axis_count = index == TIME ? 1 : 2; /* [B, L] and [B, L, F] */
    field->axes[0] = 0;
    field->axes[1] = 1;
    return PANCHROMA_OK;
}

/* ---- The work ------------------------------------------------------------------------------------------------- */

/* Where the list of a row begins, and how long it is: 0 if the row is missing. */
static uint64_t list_of(const PanchromaData *data, uint64_t row, uint64_t *start) {
    *start = data->offsets[0][row];
    return data->present[row] ? data->offsets[0][row + 1] - *start : 0;
}

/* [any] How much room these rows need: the host makes the arrays no larger than that. */
static PanchromaStatus plan(const void *instance, const PanchromaRows *rows, uint64_t *lengths, PanchromaError *error) {
    (void)instance, (void)error;
    uint64_t longest = 1, start;
    for (uint64_t row = 0; row < rows->count; row++) {
        const uint64_t count = list_of(rows->columns[0], row, &start);
        if (count > longest) longest = count;
    }
    if (longest < lengths[0]) lengths[0] = longest;
    return PANCHROMA_OK;
}

/* [any] Fills the arrays. `present` and `valid` are 0 at first: what you don't touch is missing. Row i of the arrays
 * may depend on row i of the rows alone. */
static PanchromaStatus run(const void *instance, const PanchromaRows *rows, PanchromaArrays *arrays,
                           PanchromaError *error) {
    (void)instance;
    const float *times = rows->columns[0]->values, *values = rows->columns[1]->values;
    const uint64_t length = (uint64_t)arrays->valid->shape[1];
    uint8_t *valid = arrays->valid->data;
    float *time = arrays->fields[TIME]->data, *value = arrays->fields[VALUES]->data;
    for (uint64_t row = 0; row < rows->count; row++) {
        uint64_t first_time, first_value;
        const uint64_t count = list_of(rows->columns[0], row, &first_time);
        const uint64_t other = list_of(rows->columns[1], row, &first_value);
        if (!rows->columns[0]->present[row] || !rows->columns[1]->present[row]) continue;
        if (count != other) {
            return fail(error, PANCHROMA_INVALID, (int64_t)row, "expected as many values as times, %llu, got %llu",
                        (unsigned long long)count, (unsigned long long)other);
        }
        for (uint64_t i = 0; i < count && i < length; i++) {
            const uint64_t to = row * length + i;
            time[to] = times[first_time + i];
            value[to] = values[first_value + i];
            /* Valid means finite. A missing number in a list is NaN. */
            if (!isfinite(time[to]) || !isfinite(value[to])) continue;
            valid[to] = 1;
            arrays->present[row] = 1;
        }
    }
    return PANCHROMA_OK;
}

/* ---- The tables ----------------------------------------------------------------------------------------------- */

static const PanchromaModality FUNCTIONS = {
    .size = sizeof(PanchromaModality),
    .describe = describe,
    .column = column,
    .axis = axis,
    .field = field,
    .plan = plan,
    .run = run,
};

static const PanchromaComponent MODALITY = {
    .size = sizeof(PanchromaComponent),
    .kind = PANCHROMA_MODALITY,
    .flags = PANCHROMA_DETERMINISTIC, /* the same rows give the same bits: the host holds you to it */
    .name = "first_light",
    .summary = "what first-light measures over time",
    .example = "longest = 64\n",
    /* Keys of the user's table. The descriptions are the manual: `panchroma docs modality first_light` prints them. */
    .schema =
        "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
        "\"longest\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 65536, \"default\": 64,"
        " \"description\": \"Values that are kept of an object, from the first. Default 64.\"},"
        "\"column\": {\"type\": \"string\", \"minLength\": 1, \"maxLength\": 50, \"default\": \"first_light\","
        " \"description\": \"Struct column with the lists `time` (days) and `value`. Default `first_light`.\"}}}",
    .create = create,
    .destroy = destroy,
    .functions = &FUNCTIONS,
};

static const PanchromaComponent *const COMPONENTS[] = {&MODALITY};

static const PanchromaPlugin PLUGIN = {
    .abi = PANCHROMA_ABI,
    .size = sizeof(PanchromaPlugin),
    .name = "first-light",
    .version = "0.1.0",
    .license = "MIT",
    .publisher = "",
    .component_count = sizeof COMPONENTS / sizeof *COMPONENTS,
    .components = COMPONENTS,
};

PANCHROMA_EXPORT const PanchromaPlugin *panchroma_plugin(uint32_t host_abi) {
    return host_abi >> 16 == PANCHROMA_ABI_MAJOR ? &PLUGIN : NULL;
}
