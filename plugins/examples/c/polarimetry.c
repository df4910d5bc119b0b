/* polarimetry.c - a plugin of Panchroma in C: polarised light over time, and a codec for it.
 *
 *   cc -std=c99 -O2 -shared -fPIC -fvisibility=hidden -Wall -Wextra -Werror -I../../abi \
 *      -o libpolarimetry.so polarimetry.c -lm
 *
 * What the functions below have to do is written in panchroma.h. Read this file from its end: the entry returns a
 * table, the table names two components, each component has its functions.
 *
 * Licence of this file: Apache-2.0 OR MIT.
 */
#include "panchroma.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846
#define LONGEST 65536

/* ---- Errors ------------------------------------------------------------------------------------------------- */

/* Says what is wrong, and with which row (-1 for none); returns `status` for the caller to return. */
static PanchromaStatus fail(PanchromaError *error, PanchromaStatus status, int64_t row, const char *format, ...) {
    if (error == NULL) return status;
    error->row = row;
    if (error->message == NULL || error->capacity == 0) return status;
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(error->message, error->capacity, format, arguments);
    va_end(arguments);
    if (length >= 0 && (uint32_t)length >= error->capacity) {
        /* It was cut: don't leave half a letter of several bytes. */
        uint32_t end = error->capacity - 1;
        while (end > 0 && ((unsigned char)error->message[end - 1] & 0xC0) == 0x80) end--;
        if (end > 0 && (unsigned char)error->message[end - 1] >= 0xC0) end--;
        error->message[end] = '\0';
    }
    return status;
}

/* ---- The config: a flat JSON object, which the host has checked against the schema ---------------------------- */

static const char *skip_blanks(const char *at) { return at + strspn(at, " \t\r\n"); }

/* Behind the string that begins at `at`; NULL if it doesn't end. */
static const char *skip_string(const char *at) {
    for (at++; *at != '"'; at++) {
        if (*at == '\\') at++;
        if (*at == '\0') return NULL;
    }
    return at + 1;
}

/* Behind the value that begins at `at`; NULL if it doesn't end. */
static const char *skip_value(const char *at) {
    int depth = 0;
    do {
        if (*at == '\0') return NULL;
        if (*at == '"') {
            if ((at = skip_string(at)) == NULL) return NULL;
            continue;
        }
        if (*at == '{' || *at == '[') depth++;
        if (*at == '}' || *at == ']') depth--;
        at++;
    } while (depth > 0 || strchr(",}] \t\r\n", *at) == NULL);
    return at;
}

/* The value of a key, or NULL if it isn't there. */
static const char *find(const char *json, const char *key) {
    const char *at = skip_blanks(json == NULL ? "" : json);
    if (*at != '{') return NULL;
    do {
        at = skip_blanks(at + 1);
        if (*at != '"') return NULL;
        const char *name = at + 1;
        if ((at = skip_string(at)) == NULL) return NULL;
        const size_t length = (size_t)(at - 1 - name);
        at = skip_blanks(at);
        if (*at != ':') return NULL;
        at = skip_blanks(at + 1);
        if (length == strlen(key) && memcmp(name, key, length) == 0) return at;
        if ((at = skip_value(at)) == NULL) return NULL;
        at = skip_blanks(at);
    } while (*at == ',');
    return NULL;
}

/* Each reader leaves `out` as it is where the key is missing, and returns 0 where its value is of another kind. */

/* Not strtod: that one listens to the locale. */
static int read_number(const char *json, const char *key, double *out) {
    const char *at = find(json, key);
    if (at == NULL) return 1;
    const double sign = *at == '-' ? -1.0 : 1.0;
    if (*at == '-') at++;
    if (*at < '0' || *at > '9') return 0;
    double digits = 0.0;
    int power = 0;
    for (; *at >= '0' && *at <= '9'; at++) digits = digits * 10.0 + (*at - '0');
    if (*at == '.') {
        for (at++; *at >= '0' && *at <= '9'; at++, power--) digits = digits * 10.0 + (*at - '0');
    }
    if (*at == 'e' || *at == 'E') {
        const int down = *++at == '-';
        if (*at == '-' || *at == '+') at++;
        int exponent = 0;
        for (; *at >= '0' && *at <= '9'; at++) exponent = exponent < 1000 ? exponent * 10 + (*at - '0') : exponent;
        power += down ? -exponent : exponent;
    }
    *out = sign * (power < 0 ? digits / pow(10.0, -power) : digits * pow(10.0, power));
    return isfinite(*out);
}

static int read_whole(const char *json, const char *key, uint64_t least, uint64_t most, uint64_t *out) {
    double number = (double)*out;
    if (!read_number(json, key, &number)) return 0;
    if (!(number >= (double)least && number <= (double)most) || number != floor(number)) return 0;
    *out = (uint64_t)number;
    return 1;
}

static int read_flag(const char *json, const char *key, int *out) {
    const char *at = find(json, key);
    if (at == NULL) return 1;
    *out = strncmp(at, "true", 4) == 0;
    return *out || strncmp(at, "false", 5) == 0;
}

/* A text without escapes, which the names of columns don't need; NULL if it isn't one. The caller frees it. */
static char *read_text(const char *json, const char *key, const char *otherwise) {
    const char *at = find(json, key), *end = NULL;
    if (at != NULL) {
        if (*at != '"' || (end = skip_string(at)) == NULL) return NULL;
        at++, end--;
        if (memchr(at, '\\', (size_t)(end - at)) != NULL) return NULL;
    } else {
        at = otherwise, end = otherwise + strlen(otherwise);
    }
    char *text = calloc((size_t)(end - at) + 1, 1);
    if (text != NULL) memcpy(text, at, (size_t)(end - at));
    return text;
}

/* ---- Modality: lists of Stokes parameters -> degree and angle of polarisation --------------------------------- */

enum { TIME, Q, U, SIGMA, COLUMNS };
static const char *const COLUMN[COLUMNS] = {"time", "q", "u", "sigma"};

enum { F_TIME, F_DEGREE, F_ANGLE, F_Q, F_U, FIELDS };
static const char *const FIELD[FIELDS] = {"time", "degree", "angle", "q", "u"};
static const char *const UNIT[FIELDS] = {"day", "", "rad", "", ""};

typedef struct Polarimetry {
    uint64_t longest;
    int debias;
    char *paths[COLUMNS];
} Polarimetry;

static void polarimetry_destroy(void *instance) {
    Polarimetry *self = instance;
    for (int i = 0; self != NULL && i < COLUMNS; i++) free(self->paths[i]);
    free(self);
}

static PanchromaStatus polarimetry_create(const PanchromaRequest *request, void **instance, PanchromaError *error) {
    Polarimetry *self = calloc(1, sizeof *self);
    if (self == NULL) return fail(error, PANCHROMA_FAILED, -1, "out of memory");
    self->longest = 64;
    char *prefix = read_text(request->config, "columns", "polarimetry");
    const char *wrong = NULL;
    if (prefix == NULL) wrong = "columns";
    if (!read_whole(request->config, "longest", 1, LONGEST, &self->longest)) wrong = "longest";
    if (!read_flag(request->config, "debias", &self->debias)) wrong = "debias";
    for (int i = 0; i < COLUMNS && wrong == NULL; i++) {
        const size_t room = strlen(prefix) + 1 + strlen(COLUMN[i]) + 1;
        if ((self->paths[i] = malloc(room)) == NULL) wrong = "columns";
        else snprintf(self->paths[i], room, "%s%s%s", prefix, *prefix == '\0' ? "" : ".", COLUMN[i]);
    }
    free(prefix);
    if (wrong != NULL) {
        polarimetry_destroy(self);
        return fail(error, PANCHROMA_INVALID, -1, "`%s` can't be read or is out of range", wrong);
    }
    *instance = self;
    return PANCHROMA_OK;
}

static PanchromaStatus polarimetry_describe(const void *instance, PanchromaModalityInfo *info) {
    (void)instance;
    info->column_count = COLUMNS;
    info->axis_count = 1;
    info->field_count = FIELDS;
    info->valid_axis_count = 1;
    info->valid_axes[0] = 0;
    return PANCHROMA_OK;
}

static PanchromaStatus polarimetry_column(const void *instance, uint32_t index, PanchromaColumn *column) {
    const Polarimetry *self = instance;
    if (index >= COLUMNS) return PANCHROMA_INVALID;
    column->type = index == TIME ? PANCHROMA_F64 : PANCHROMA_F32;
    column->depth = 1;
    column->optional = index == SIGMA && !self->debias;
    column->path = self->paths[index];
    return PANCHROMA_OK;
}

static PanchromaStatus polarimetry_axis(const void *instance, uint32_t index, PanchromaAxis *axis) {
    const Polarimetry *self = instance;
    if (index != 0) return PANCHROMA_INVALID;
    axis->name = "L";
    axis->longest = self->longest;
    return PANCHROMA_OK;
}

static PanchromaStatus polarimetry_field(const void *instance, uint32_t index, PanchromaField *field) {
    (void)instance;
    if (index >= FIELDS) return PANCHROMA_INVALID;
    field->type = index == F_TIME ? PANCHROMA_F64 : PANCHROMA_F32;
    field->name = FIELD[index];
    field->unit = UNIT[index];
    field->axis_count = 1;
    field->axes[0] = 0;
    return PANCHROMA_OK;
}

/* Where the list of a row begins, and how long it is: 0 if the row is missing. */
static uint64_t list_of(const PanchromaData *data, uint64_t row, uint64_t *start) {
    *start = data->offsets[0][row];
    return data->present[row] ? data->offsets[0][row + 1] - *start : 0;
}

static PanchromaStatus polarimetry_plan(const void *instance, const PanchromaRows *rows, uint64_t *lengths,
                                        PanchromaError *error) {
    (void)instance, (void)error;
    uint64_t longest = 1, start;
    for (uint64_t row = 0; row < rows->count; row++) {
        const uint64_t count = list_of(rows->columns[TIME], row, &start);
        if (count > longest) longest = count;
    }
    if (longest < lengths[0]) lengths[0] = longest;
    return PANCHROMA_OK;
}

static PanchromaStatus polarimetry_run(const void *instance, const PanchromaRows *rows, PanchromaArrays *arrays,
                                       PanchromaError *error) {
    const Polarimetry *self = instance;
    const double *times = rows->columns[TIME]->values;
    const float *qs = rows->columns[Q]->values, *us = rows->columns[U]->values, *sigmas = rows->columns[SIGMA]->values;
    const uint64_t length = (uint64_t)arrays->valid->shape[1];
    uint8_t *valid = arrays->valid->data;
    double *time = arrays->fields[F_TIME]->data;
    float *degree = arrays->fields[F_DEGREE]->data, *angle = arrays->fields[F_ANGLE]->data;
    float *q = arrays->fields[F_Q]->data, *u = arrays->fields[F_U]->data;

    for (uint64_t row = 0; row < rows->count; row++) {
        /* An object that lacks one of the three has no polarimetry; nothing is to be written of it. */
        int present = 1;
        for (int i = TIME; i <= U; i++) present = present && rows->columns[i]->present[row];
        if (!present) continue;
        const int has_sigma = rows->columns[SIGMA]->present[row];
        if (self->debias && !has_sigma) {
            return fail(error, PANCHROMA_INVALID, (int64_t)row, "`%s` is missing, which `debias` needs",
                        self->paths[SIGMA]);
        }
        uint64_t start[COLUMNS];
        const uint64_t count = list_of(rows->columns[TIME], row, &start[TIME]);
        for (int i = Q; i < COLUMNS; i++) {
            const uint64_t own = list_of(rows->columns[i], row, &start[i]);
            if (own != count && (i != SIGMA || has_sigma)) {
                return fail(error, PANCHROMA_INVALID, (int64_t)row,
                            "expected as many values in `%s` as in `%s`, %llu, got %llu", self->paths[i],
                            self->paths[TIME], (unsigned long long)count, (unsigned long long)own);
            }
        }
        for (uint64_t i = 0; i < count && i < length; i++) {
            const uint64_t to = row * length + i;
            const double sigma = has_sigma ? sigmas[start[SIGMA] + i] : 0.0;
            time[to] = times[start[TIME] + i];
            q[to] = qs[start[Q] + i];
            u[to] = us[start[U] + i];
            /* A degree is never negative, so noise makes it too large by sigma^2 in the square (Wardle & Kronberg 1974,
             * ApJ 194, 249). */
            double square = (double)q[to] * q[to] + (double)u[to] * u[to];
            if (self->debias) square = square > sigma * sigma ? square - sigma * sigma : 0.0;
            const double root = sqrt(square);
            const int good = isfinite(time[to]) && isfinite(q[to]) && isfinite(u[to]) && root <= FLT_MAX &&
                             (!self->debias || (isfinite(sigma) && sigma > 0.0));
            if (!good) continue;
            degree[to] = (float)root;
            angle[to] = (float)(0.5 * atan2(u[to], q[to]));
            valid[to] = 1;
            arrays->present[row] = 1;
        }
    }
    return PANCHROMA_OK;
}

/* ---- Codec: degree and angle of an observation -> one code, and back ------------------------------------------ */

typedef struct Codes {
    uint64_t degrees, angles; /* numbers of levels */
    double largest;           /* degree; above it all are one level */
    uint64_t longest;
} Codes;

static void codes_destroy(void *instance) { free(instance); }

static PanchromaStatus codes_create(const PanchromaRequest *request, void **instance, PanchromaError *error) {
    /* Of a codec the arrays are known when it is made: it says here, not in the middle of a run, if it can't read
     * them. */
    const PanchromaArraysInfo *arrays = request->arrays;
    int fits = arrays != NULL && arrays->axis_count == 1 && arrays->valid_axis_count == 1;
    fits = fits && arrays->field_count == FIELDS;
    for (uint32_t i = 0; fits && i < FIELDS; i++) {
        const PanchromaField *field = arrays->fields[i];
        const uint32_t type = i == F_TIME ? PANCHROMA_F64 : PANCHROMA_F32;
        fits = strcmp(field->name, FIELD[i]) == 0 && field->type == type && field->axis_count == 1;
    }
    if (!fits) return fail(error, PANCHROMA_INVALID, -1, "expected a modality of kind `polarimetry`");
    Codes own = {16, 16, 0.2, arrays->axes[0]->longest};
    const char *wrong = NULL;
    if (!read_whole(request->config, "degrees", 1, 256, &own.degrees)) wrong = "degrees";
    if (!read_whole(request->config, "angles", 1, 256, &own.angles)) wrong = "angles";
    if (!read_number(request->config, "largest", &own.largest) || !(own.largest > 0.0 && own.largest <= 1.0)) {
        wrong = "largest";
    }
    if (wrong != NULL) return fail(error, PANCHROMA_INVALID, -1, "`%s` is out of range", wrong);
    Codes *self = malloc(sizeof *self);
    if (self == NULL) return fail(error, PANCHROMA_FAILED, -1, "out of memory");
    *self = own;
    *instance = self;
    return PANCHROMA_OK;
}

static PanchromaStatus codes_describe(const void *instance, PanchromaCodecInfo *info) {
    const Codes *self = instance;
    info->vocabulary = (uint32_t)(self->degrees * self->angles);
    info->max_tokens = self->longest;
    info->coordinate_count = 1;
    info->decodes = 1;
    return PANCHROMA_OK;
}

static PanchromaStatus codes_coordinate(const void *instance, uint32_t index, PanchromaCoordinate *coordinate) {
    (void)instance;
    if (index != 0) return PANCHROMA_INVALID;
    coordinate->encoding = PANCHROMA_FOURIER;
    coordinate->name = "time"; /* since the object's first observation: an f32 can't tell the minutes of a date */
    coordinate->unit = "day";
    coordinate->smallest = 0.05;
    coordinate->largest = 1000.0;
    coordinate->count = 16;
    return PANCHROMA_OK;
}

static PanchromaStatus codes_plan(const void *instance, const PanchromaArrays *arrays, uint64_t *tokens,
                                  PanchromaError *error) {
    (void)instance, (void)error;
    const uint64_t length = (uint64_t)arrays->valid->shape[1];
    if (length >= 1 && length < *tokens) *tokens = length;
    return PANCHROMA_OK;
}

static uint64_t smaller(int64_t a, int64_t b) { return (uint64_t)(a < b ? a : b); }

/* The level of `x`, of which 0 to 1 are `levels`. */
static uint32_t level(double x, uint64_t levels) {
    const double at = floor(x * (double)levels);
    return at >= (double)levels ? (uint32_t)levels - 1 : at > 0.0 ? (uint32_t)at : 0;
}

static PanchromaStatus codes_encode(const void *instance, const PanchromaArrays *arrays, PanchromaTokens *tokens,
                                    PanchromaError *error) {
    const Codes *self = instance;
    const uint64_t length = (uint64_t)arrays->valid->shape[1], room = (uint64_t)tokens->valid->shape[1];
    const uint64_t used = smaller(arrays->valid->shape[1], tokens->valid->shape[1]);
    const uint8_t *measured = arrays->valid->data;
    const double *time = arrays->fields[F_TIME]->data;
    const float *degree = arrays->fields[F_DEGREE]->data, *angle = arrays->fields[F_ANGLE]->data;
    uint8_t *valid = tokens->valid->data;
    uint32_t *codes = tokens->values->data;
    float *since = tokens->coordinates->data;
    (void)error;
    for (uint64_t row = 0; row < arrays->count; row++) {
        if (!arrays->present[row]) continue;
        double first = INFINITY;
        for (uint64_t i = 0; i < used; i++) {
            if (measured[row * length + i] && time[row * length + i] < first) first = time[row * length + i];
        }
        for (uint64_t i = 0; i < used; i++) {
            const uint64_t from = row * length + i, to = row * room + i;
            if (!measured[from]) continue;
            /* Angles of -pi/2 and pi/2 are the same. */
            const double turn = angle[from] / PI + 0.5;
            codes[to] = level(degree[from] / self->largest, self->degrees) * (uint32_t)self->angles +
                        level(turn - floor(turn), self->angles);
            const double days = time[from] - first;
            since[to] = days <= FLT_MAX ? (float)days : NAN; /* NaN is unknown */
            valid[to] = 1;
        }
    }
    return PANCHROMA_OK;
}

static PanchromaStatus codes_decode(const void *instance, const PanchromaTokens *tokens, const PanchromaArrays *like,
                                    PanchromaArrays *arrays, PanchromaError *error) {
    const Codes *self = instance;
    const uint64_t length = (uint64_t)arrays->valid->shape[1], room = (uint64_t)tokens->valid->shape[1];
    const uint64_t used = smaller(arrays->valid->shape[1], tokens->valid->shape[1]);
    const uint8_t *told = tokens->valid->data;
    const uint32_t *codes = tokens->values->data;
    const float *since = tokens->coordinates == NULL ? NULL : tokens->coordinates->data;
    uint8_t *valid = arrays->valid->data;
    double *time = arrays->fields[F_TIME]->data;
    float *degree = arrays->fields[F_DEGREE]->data, *angle = arrays->fields[F_ANGLE]->data;
    float *q = arrays->fields[F_Q]->data, *u = arrays->fields[F_U]->data;
    for (uint64_t row = 0; row < arrays->count; row++) {
        for (uint64_t i = 0; tokens->present[row] && i < used; i++) {
            const uint64_t from = row * room + i, to = row * length + i;
            if (!told[from]) continue;
            if (codes[from] >= self->degrees * self->angles) {
                return fail(error, PANCHROMA_INVALID, (int64_t)row, "code %u is not below %u", (unsigned)codes[from],
                            (unsigned)(self->degrees * self->angles));
            }
            /* Codes say nothing of the time: that of the measurement that is asked for, or of the token. */
            const int known = like != NULL && ((const uint8_t *)like->valid->data)[to];
            time[to] = known ? ((const double *)like->fields[F_TIME]->data)[to] : since != NULL ? since[from] : NAN;
            if (!isfinite(time[to])) continue;
            const double p = ((double)(codes[from] / self->angles) + 0.5) / (double)self->degrees * self->largest;
            const double turn = ((double)(codes[from] % self->angles) + 0.5) / (double)self->angles - 0.5;
            degree[to] = (float)p;
            angle[to] = (float)(turn * PI);
            q[to] = (float)(p * cos(2.0 * PI * turn));
            u[to] = (float)(p * sin(2.0 * PI * turn));
            valid[to] = 1;
            arrays->present[row] = 1;
        }
    }
    return PANCHROMA_OK;
}

/* ---- The tables ------------------------------------------------------------------------------------------------ */

static const PanchromaModality POLARIMETRY_FUNCTIONS = {
    .size = sizeof(PanchromaModality),
    .describe = polarimetry_describe,
    .column = polarimetry_column,
    .axis = polarimetry_axis,
    .field = polarimetry_field,
    .plan = polarimetry_plan,
    .run = polarimetry_run,
};

static const PanchromaComponent POLARIMETRY = {
    .size = sizeof(PanchromaComponent),
    .kind = PANCHROMA_MODALITY,
    .flags = PANCHROMA_DETERMINISTIC,
    .name = "polarimetry",
    .summary = "degree and angle of polarised light over time",
    .example = "longest = 64\ndebias = true\n",
    .schema =
        "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
        "\"longest\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 65536, \"default\": 64,"
        " \"description\": \"Observations that are kept of an object, from the first. Default 64.\"},"
        "\"debias\": {\"type\": \"boolean\", \"default\": false,"
        " \"description\": \"Whether the noise, by the column `sigma`, is taken out of the degree. Default false.\"},"
        "\"columns\": {\"type\": \"string\", \"pattern\": \"^[^\\\\\\\\\\\"]*$\", \"default\": \"polarimetry\","
        " \"description\": \"Struct column with the lists `time` (days), `q`, `u` (fractions of the light) and `sigma`"
        " (standard error of both; may be absent). Empty if the lists are columns themselves."
        " Default `polarimetry`.\"}}}",
    .create = polarimetry_create,
    .destroy = polarimetry_destroy,
    .functions = &POLARIMETRY_FUNCTIONS,
};

static const PanchromaCodec CODES_FUNCTIONS = {
    .size = sizeof(PanchromaCodec),
    .describe = codes_describe,
    .coordinate = codes_coordinate,
    .plan = codes_plan,
    .encode = codes_encode,
    .decode = codes_decode,
};

static const PanchromaComponent CODES = {
    .size = sizeof(PanchromaComponent),
    .kind = PANCHROMA_CODEC,
    .flags = PANCHROMA_DETERMINISTIC,
    .name = "polarimetry_codes",
    .summary = "one code for degree and angle of each observation of `polarimetry`",
    .example = "degrees = 16\nangles = 16\nlargest = 0.2\n",
    .schema =
        "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
        "\"degrees\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 256, \"default\": 16,"
        " \"description\": \"Levels of the degree. The vocabulary is `degrees` times `angles`. Default 16.\"},"
        "\"angles\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 256, \"default\": 16,"
        " \"description\": \"Levels of the angle, over half a turn. Default 16.\"},"
        "\"largest\": {\"type\": \"number\", \"exclusiveMinimum\": 0, \"maximum\": 1, \"default\": 0.2,"
        " \"description\": \"Largest degree that is told apart, as a fraction of the light. Default 0.2.\"}}}",
    .create = codes_create,
    .destroy = codes_destroy,
    .functions = &CODES_FUNCTIONS,
};

static const PanchromaComponent *const COMPONENTS[] = {&POLARIMETRY, &CODES};

static const PanchromaPlugin PLUGIN = {
    .abi = PANCHROMA_ABI,
    .size = sizeof(PanchromaPlugin),
    .name = "polarimetry",
    .version = "0.1.0",
    .license = "Apache-2.0 OR MIT",
    .publisher = "Panchroma",
    .component_count = sizeof COMPONENTS / sizeof *COMPONENTS,
    .components = COMPONENTS,
};

PANCHROMA_EXPORT const PanchromaPlugin *panchroma_plugin(uint32_t host_abi) {
    return host_abi >> 16 == PANCHROMA_ABI_MAJOR ? &PLUGIN : NULL;
}
