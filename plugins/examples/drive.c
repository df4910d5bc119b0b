/* drive.c - calls a plugin with made-up rows and checks what it gives, without Panchroma: for sanitizers and debuggers.
 *
 *   cc -std=c99 -g -fsanitize=address,undefined -I../abi -o drive drive.c -ldl -lm
 *   ./drive ./libmine.so mine '{"longest": 8}' mine_codes '{}'
 *
 * Arguments are the library and then names of components, each with its config as JSON. A codec reads the arrays of
 * the modality before it. Every array of the host lies in a block of its own, so that a sanitizer sees what is read
 * or written beside it. Made-up rows: usual ones, an empty list, a missing one, NaN and infinities, only NaN, a long
 * list. Leaves 0 if every promise held, and 1 otherwise.
 *
 * It knows modalities, codecs, and heads that look at joint vectors. `panchroma plugins check` knows everything.
 */
#include "panchroma.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 7, WIDTH = 6, MAX_ITEMS = 64 };

static int broken = 0;

#define EXPECT(condition, ...)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            broken = 1;                                                                                                \
            printf("  broken: " __VA_ARGS__);                                                                          \
            printf("\n");                                                                                              \
        }                                                                                                              \
    } while (0)

static void *block(size_t bytes, int fill) {
    void *memory = malloc(bytes);
    if (memory == NULL && bytes > 0) abort();
    if (bytes > 0) memset(memory, fill, bytes);
    return memory;
}

static char message[256];
static PanchromaError error = {sizeof(PanchromaError), sizeof message, message, -1};

static PanchromaError *no_error(void) {
    message[0] = '\0';
    error.row = -1;
    return &error;
}

static int went_well(const char *what, PanchromaStatus status) {
    message[sizeof message - 1] = '\0';
    EXPECT(status == PANCHROMA_OK, "%s: status %d, row %lld: %s", what, (int)status, (long long)error.row, message);
    return status == PANCHROMA_OK;
}

/* ---- Tensors -------------------------------------------------------------------------------------------------- */

static size_t bytes_of(uint32_t type) { return type == PANCHROMA_F64 ? 8 : type == PANCHROMA_U8 ? 1 : 4; }

static size_t count_of(const PanchromaTensor *tensor) {
    size_t count = 1;
    for (int i = 0; i < tensor->ndim; i++) count *= (size_t)tensor->shape[i];
    return count;
}

static PanchromaTensor *tensor(uint32_t type, int ndim, const int64_t *shape, int fill) {
    PanchromaTensor *new = block(sizeof *new, 0);
    new->device_type = PANCHROMA_CPU;
    new->ndim = ndim;
    new->code = type == PANCHROMA_F32 || type == PANCHROMA_F64 ? 2 : 1;
    new->bits = (uint8_t)(8 * bytes_of(type));
    new->lanes = 1;
    new->shape = block((size_t)ndim * sizeof *shape, 0);
    memcpy(new->shape, shape, (size_t)ndim * sizeof *shape);
    new->data = block(count_of(new) * bytes_of(type), fill);
    return new;
}

static void drop_tensor(PanchromaTensor *old) {
    if (old == NULL) return;
    free(old->shape);
    free(old->data);
    free(old);
}

static double number(const PanchromaTensor *from, size_t at) {
    if (from->code == 1) return from->bits == 8 ? ((uint8_t *)from->data)[at] : ((uint32_t *)from->data)[at];
    return from->bits == 64 ? ((double *)from->data)[at] : ((float *)from->data)[at];
}

/* ---- Made-up rows --------------------------------------------------------------------------------------------- */

static const uint64_t LENGTH[ROWS] = {5, 0, 0, 6, 4, 300, 40};
static const int MISSING = 2, BAD = 3, NOTHING = 4;

static double value_of(uint32_t column, uint64_t row, uint64_t i) {
    if (row == (uint64_t)NOTHING || (row == (uint64_t)BAD && i % 3 == 1)) return NAN;
    if (row == (uint64_t)BAD && i % 3 == 2) return column % 2 ? INFINITY : -INFINITY;
    return 0.3 * sin(1.7 * (double)i * (column + 1.0) + 3.0 * (double)row) + 0.35 + (column == 0 ? (double)i : 0.0);
}

/* A column of the rows `which`. Lists inside lists have three elements each. */
static PanchromaData *made_up(const PanchromaColumn *column, uint32_t number, const uint64_t *which, uint64_t count) {
    PanchromaData *data = block(sizeof *data, 0);
    const uint64_t **offsets = block(column->depth * sizeof *offsets, 0);
    uint8_t *present = block(count, 1);
    uint64_t values = count;
    for (uint32_t level = 0; level < column->depth; level++) {
        uint64_t *own = block((values + 1) * sizeof *own, 0);
        for (uint64_t i = 0; i < values; i++) own[i + 1] = own[i] + (level == 0 ? LENGTH[which[i]] : 3);
        offsets[level] = own;
        values = own[values];
    }
    const size_t bytes = column->type == PANCHROMA_TEXT ? sizeof(PanchromaText) : bytes_of(column->type);
    char *memory = block(values * bytes, 0);
    uint64_t at = 0;
    for (uint64_t row = 0; row < count; row++) {
        present[row] = which[row] != (uint64_t)MISSING;
        uint64_t own = column->depth == 0 ? 1 : LENGTH[which[row]];
        for (uint32_t level = 1; level < column->depth; level++) own *= 3;
        for (uint64_t i = 0; i < own; i++, at++) {
            const double value = present[row] ? value_of(number, which[row], i) : NAN;
            if (column->type == PANCHROMA_F64) ((double *)memory)[at] = value;
            else if (column->type == PANCHROMA_F32) ((float *)memory)[at] = (float)value;
            else if (column->type == PANCHROMA_U8) ((uint8_t *)memory)[at] = value > 0.4;
            else ((PanchromaText *)memory)[at] = (PanchromaText){"text", present[row] ? 4 : 0};
        }
    }
    *data = (PanchromaData){sizeof *data, column->type, column->depth, 0, present, offsets, memory, values};
    return data;
}

static PanchromaRows *make_rows(const PanchromaColumn *columns, uint32_t column_count, const uint64_t *which,
                                uint64_t count) {
    PanchromaRows *rows = block(sizeof *rows, 0);
    PanchromaText *ids = block(count * sizeof *ids, 0);
    uint64_t *random = block(count * sizeof *random, 0);
    const PanchromaData **data = block(column_count * sizeof *data, 0);
    for (uint64_t i = 0; i < count; i++) {
        ids[i] = (PanchromaText){"object", 6};
        random[i] = 0x9E3779B97F4A7C15u * (which[i] + 1);
    }
    for (uint32_t i = 0; i < column_count; i++) data[i] = made_up(&columns[i], i, which, count);
    *rows = (PanchromaRows){sizeof *rows, column_count, count, ids, data, PANCHROMA_TRAIN, 0, 1, 0, random};
    return rows;
}

static void drop_rows(PanchromaRows *rows) {
    for (uint32_t i = 0; i < rows->column_count; i++) {
        const PanchromaData *data = rows->columns[i];
        for (uint32_t level = 0; level < data->depth; level++) free((void *)data->offsets[level]);
        free((void *)data->offsets);
        free((void *)data->present);
        free((void *)data->values);
        free((void *)data);
    }
    free((void *)rows->columns);
    free((void *)rows->ids);
    free((void *)rows->random);
    free(rows);
}

/* ---- Arrays --------------------------------------------------------------------------------------------------- */

typedef struct Modality {
    const PanchromaModality *functions;
    void *instance;
    PanchromaColumn columns[MAX_ITEMS];
    uint32_t column_count;
    PanchromaAxis axes[MAX_ITEMS];
    PanchromaField fields[MAX_ITEMS];
    const PanchromaAxis *axis_list[MAX_ITEMS];
    const PanchromaField *field_list[MAX_ITEMS];
    PanchromaArraysInfo info;
} Modality;

static PanchromaArrays *make_arrays(const Modality *modality, uint64_t count, const uint64_t *lengths, int fill) {
    PanchromaArrays *arrays = block(sizeof *arrays, 0);
    PanchromaTensor **fields = block(modality->info.field_count * sizeof *fields, 0);
    int64_t shape[1 + PANCHROMA_MAX_AXES] = {(int64_t)count};
    for (uint32_t i = 0; i < modality->info.field_count; i++) {
        const PanchromaField *field = &modality->fields[i];
        for (uint32_t k = 0; k < field->axis_count; k++) shape[k + 1] = (int64_t)lengths[field->axes[k]];
        fields[i] = tensor(field->type, 1 + (int)field->axis_count, shape, fill);
    }
    const uint32_t axes = modality->info.valid_axis_count;
    for (uint32_t k = 0; k < axes; k++) shape[k + 1] = (int64_t)lengths[modality->info.valid_axes[k]];
    PanchromaTensor *valid = tensor(PANCHROMA_U8, 1 + (int)axes, shape, 0);
    *arrays = (PanchromaArrays){sizeof *arrays, modality->info.field_count, count, block(count, 0), valid, fields};
    return arrays;
}

static void drop_arrays(PanchromaArrays *arrays) {
    if (arrays == NULL) return;
    for (uint32_t i = 0; i < arrays->field_count; i++) drop_tensor(arrays->fields[i]);
    drop_tensor(arrays->valid);
    free((void *)arrays->fields);
    free(arrays->present);
    free(arrays);
}

/* Splits a place of `tensor` into its indices. */
static void indices_of(const PanchromaTensor *of, size_t at, size_t *indices) {
    for (int i = of->ndim - 1; i >= 0; at /= (size_t)of->shape[i], i--) indices[i] = at % (size_t)of->shape[i];
}

static size_t place_of(const PanchromaTensor *of, const size_t *indices) {
    size_t at = 0;
    for (int i = 0; i < of->ndim; i++) at = at * (size_t)of->shape[i] + indices[i];
    return at;
}

/* Whether place `at` of field `which` is valid. A field that lacks an axis of the mask is where the object is there. */
static int is_valid(const Modality *modality, const PanchromaArrays *arrays, uint32_t which, size_t at) {
    const PanchromaField *field = &modality->fields[which];
    size_t own[1 + PANCHROMA_MAX_AXES], mask[1 + PANCHROMA_MAX_AXES];
    indices_of(arrays->fields[which], at, own);
    mask[0] = own[0];
    for (uint32_t k = 0; k < modality->info.valid_axis_count; k++) {
        uint32_t same = 0;
        while (same < field->axis_count && field->axes[same] != modality->info.valid_axes[k]) same++;
        if (same == field->axis_count) return arrays->present[own[0]];
        mask[k + 1] = own[same + 1];
    }
    return ((uint8_t *)arrays->valid->data)[place_of(arrays->valid, mask)];
}

static void check_arrays(const Modality *modality, const PanchromaArrays *arrays, const char *what) {
    const size_t places = count_of(arrays->valid), per_row = arrays->count ? places / arrays->count : 0;
    for (size_t i = 0; i < places; i++) {
        const uint8_t valid = ((uint8_t *)arrays->valid->data)[i];
        EXPECT(valid <= 1, "%s: the mask has %u at %zu", what, valid, i);
        EXPECT(!valid || arrays->present[i / per_row] == 1, "%s: row %zu is absent and valid", what, i / per_row);
    }
    for (uint32_t which = 0; which < arrays->field_count; which++) {
        for (size_t i = 0; i < count_of(arrays->fields[which]); i++) {
            EXPECT(!is_valid(modality, arrays, which, i) || isfinite(number(arrays->fields[which], i)),
                   "%s: field `%s` isn't finite at %zu, which is valid", what, modality->fields[which].name, i);
        }
    }
}

/* Row i of `few` has to be row which[i] of `all` where valid. */
static void check_same(const Modality *modality, const PanchromaArrays *few, const PanchromaArrays *all,
                       const uint64_t *which, const char *what) {
    size_t indices[1 + PANCHROMA_MAX_AXES];
    for (uint32_t field = 0; field < few->field_count; field++) {
        const PanchromaTensor *a = few->fields[field], *b = all->fields[field];
        for (size_t i = 0; i < count_of(a); i++) {
            indices_of(a, i, indices);
            EXPECT(few->present[indices[0]] == all->present[which[indices[0]]], "%s: `present` differs", what);
            if (!is_valid(modality, few, field, i)) continue;
            indices[0] = which[indices[0]];
            const size_t other = place_of(b, indices);
            EXPECT(is_valid(modality, all, field, other), "%s: the mask differs", what);
            const size_t bytes = a->bits / 8u;
            EXPECT(memcmp((char *)a->data + i * bytes, (char *)b->data + other * bytes, bytes) == 0,
                   "%s: `%s` differs in row %zu: %g, %g", what, modality->fields[field].name, indices[0], number(a, i),
                   number(b, other));
        }
    }
}

/* ---- Modality ------------------------------------------------------------------------------------------------- */

static PanchromaArrays *run(const Modality *modality, const uint64_t *which, uint64_t count, int fill) {
    PanchromaRows *rows = make_rows(modality->columns, modality->column_count, which, count);
    uint64_t lengths[MAX_ITEMS];
    for (uint32_t i = 0; i < modality->info.axis_count; i++) lengths[i] = modality->axes[i].longest;
    int good = modality->functions->plan == NULL ||
               went_well("plan", modality->functions->plan(modality->instance, rows, lengths, no_error()));
    for (uint32_t i = 0; i < modality->info.axis_count; i++) {
        const int fits = lengths[i] >= 1 && lengths[i] <= modality->axes[i].longest;
        EXPECT(fits, "plan: axis `%s` gets length %llu", modality->axes[i].name, (unsigned long long)lengths[i]);
        good = good && fits;
    }
    PanchromaArrays *arrays = NULL;
    if (good) {
        arrays = make_arrays(modality, count, lengths, fill);
        went_well("run", modality->functions->run(modality->instance, rows, arrays, no_error()));
        check_arrays(modality, arrays, "run");
    }
    drop_rows(rows);
    return arrays;
}

static PanchromaArrays *drive_modality(Modality *modality) {
    const PanchromaModality *functions = modality->functions;
    PanchromaModalityInfo info = {.size = sizeof info};
    if (!went_well("describe", functions->describe(modality->instance, &info))) return NULL;
    modality->column_count = info.column_count;
    if (info.column_count > MAX_ITEMS || info.axis_count > MAX_ITEMS || info.field_count > MAX_ITEMS) abort();
    for (uint32_t i = 0; i < info.column_count; i++) {
        modality->columns[i] = (PanchromaColumn){.size = sizeof(PanchromaColumn)};
        went_well("column", functions->column(modality->instance, i, &modality->columns[i]));
    }
    for (uint32_t i = 0; i < info.axis_count; i++) {
        modality->axes[i] = (PanchromaAxis){.size = sizeof(PanchromaAxis)};
        went_well("axis", functions->axis(modality->instance, i, &modality->axes[i]));
        modality->axis_list[i] = &modality->axes[i];
    }
    for (uint32_t i = 0; i < info.field_count; i++) {
        modality->fields[i] = (PanchromaField){.size = sizeof(PanchromaField)};
        went_well("field", functions->field(modality->instance, i, &modality->fields[i]));
        modality->field_list[i] = &modality->fields[i];
        const PanchromaField *field = &modality->fields[i];
        int fits = field->name != NULL && field->type >= PANCHROMA_F32 && field->type <= PANCHROMA_U32;
        fits = fits && field->axis_count <= PANCHROMA_MAX_AXES;
        for (uint32_t k = 0; fits && k < field->axis_count; k++) fits = field->axes[k] < info.axis_count;
        EXPECT(fits, "field: number %u has no name, or a type or axes that don't exist", i);
    }
    if (broken) return NULL;
    modality->info = (PanchromaArraysInfo){
        .size = sizeof modality->info,
        .axis_count = info.axis_count,
        .axes = modality->axis_list,
        .field_count = info.field_count,
        .valid_axis_count = info.valid_axis_count,
        .fields = modality->field_list,
    };
    memcpy(modality->info.valid_axes, info.valid_axes, sizeof info.valid_axes);

    const uint64_t every[ROWS] = {0, 1, 2, 3, 4, 5, 6};
    PanchromaArrays *all = run(modality, every, ROWS, 0xA5), *again = run(modality, every, ROWS, 0x5A);
    if (all != NULL && again != NULL) check_same(modality, again, all, every, "twice");
    for (uint64_t row = 0; all != NULL && row < ROWS; row++) {
        PanchromaArrays *alone = run(modality, &row, 1, 0);
        if (alone != NULL) check_same(modality, alone, all, &row, "alone in its batch");
        drop_arrays(alone);
    }
    drop_arrays(run(modality, every, 0, 0));
    drop_arrays(again);
    for (uint64_t row = 0; all != NULL && row < ROWS; row++) {
        const size_t per_row = count_of(all->valid) / ROWS;
        size_t valid = 0;
        for (size_t i = 0; i < per_row; i++) valid += ((uint8_t *)all->valid->data)[row * per_row + i];
        const char *there = all->present[row] ? "present" : "absent";
        printf("  row %d: %s, %zu of %zu places valid\n", (int)row, there, valid, per_row);
    }
    return all;
}

/* ---- Codec ---------------------------------------------------------------------------------------------------- */

static void drive_codec(const PanchromaCodec *functions, void *instance, const Modality *modality,
                        PanchromaArrays *arrays) {
    PanchromaCodecInfo info = {.size = sizeof info};
    if (!went_well("describe", functions->describe(instance, &info))) return;
    for (uint32_t i = 0; i < info.coordinate_count; i++) {
        PanchromaCoordinate coordinate = {.size = sizeof coordinate};
        went_well("coordinate", functions->coordinate(instance, i, &coordinate));
    }
    uint64_t room = info.max_tokens;
    if (functions->plan != NULL) went_well("plan", functions->plan(instance, arrays, &room, no_error()));
    EXPECT(room >= 1 && room <= info.max_tokens, "plan: %llu tokens", (unsigned long long)room);
    const int64_t shape[3] = {(int64_t)arrays->count, (int64_t)room, info.coordinate_count};
    PanchromaTokens tokens = {sizeof tokens, 0, arrays->count, arrays->present, NULL, NULL, NULL};
    tokens.valid = tensor(PANCHROMA_U8, 2, shape, 0);
    tokens.values = tensor(PANCHROMA_U32, 2, shape, 0xA5);
    if (info.coordinate_count > 0) tokens.coordinates = tensor(PANCHROMA_F32, 3, shape, 0xA5);
    went_well("encode", functions->encode(instance, arrays, &tokens, no_error()));
    size_t used = 0;
    for (size_t i = 0; i < count_of(tokens.valid); i++) {
        if (!((uint8_t *)tokens.valid->data)[i]) continue;
        used++;
        const double code = number(tokens.values, i);
        EXPECT(code < info.vocabulary, "encode: code %g of %u", code, info.vocabulary);
        for (size_t c = 0; c < info.coordinate_count; c++) {
            EXPECT(!isinf(number(tokens.coordinates, i * info.coordinate_count + c)), "encode: an infinite coordinate");
        }
    }
    printf("  %zu tokens, vocabulary %u\n", used, info.vocabulary);

    uint64_t lengths[MAX_ITEMS];
    for (uint32_t i = 0; i < modality->info.axis_count; i++) lengths[i] = modality->axes[i].longest;
    for (int with_like = 0; info.decodes && with_like < 2; with_like++) {
        for (uint32_t i = 0; with_like && i < modality->info.valid_axis_count; i++) {
            lengths[modality->info.valid_axes[i]] = (uint64_t)arrays->valid->shape[i + 1];
        }
        PanchromaArrays *back = make_arrays(modality, arrays->count, lengths, 0xA5);
        if (went_well("decode", functions->decode(instance, &tokens, with_like ? arrays : NULL, back, no_error()))) {
            check_arrays(modality, back, "decode");
        }
        for (uint32_t which = 0; with_like && which < back->field_count; which++) {
            double worst = 0.0;
            for (size_t i = 0; i < count_of(back->fields[which]); i++) {
                if (!is_valid(modality, back, which, i) || !is_valid(modality, arrays, which, i)) continue;
                worst = fmax(worst, fabs(number(back->fields[which], i) - number(arrays->fields[which], i)));
            }
            printf("  largest error of `%s`: %g\n", modality->fields[which].name, worst);
        }
        drop_arrays(back);
    }
    drop_tensor(tokens.valid);
    drop_tensor(tokens.values);
    drop_tensor(tokens.coordinates);
}

/* ---- Head ----------------------------------------------------------------------------------------------------- */

/* Compares the gradients in `of` with differences of the loss. */
static void differences(const PanchromaHead *functions, void *instance, const PanchromaCompute *compute,
                        const PanchromaHeadInput *input, PanchromaTensor *const *parameters,
                        PanchromaTensor *predictions, PanchromaTensor *of, const PanchromaTensor *gradient,
                        const char *name) {
    const float step = 1e-3f;
    double worst = 0.0;
    for (size_t i = 0; i < count_of(of); i++) {
        float *place = (float *)of->data + i, loss[2] = {0};
        const float kept = *place;
        for (int side = 0; side < 2; side++) {
            *place = side ? kept + step : kept - step;
            functions->forward(instance, compute, input, (const PanchromaTensor *const *)parameters, &loss[side],
                               predictions, no_error());
        }
        *place = kept;
        worst = fmax(worst, fabs(((double)loss[1] - loss[0]) / (2.0 * step) - number(gradient, i)));
    }
    printf("  gradient of %s: %g from differences\n", name, worst);
    EXPECT(worst < 2e-3, "backward: gradient of %s", name);
}

static void drive_head(const PanchromaHead *functions, void *instance) {
    PanchromaHeadInfo info = {.size = sizeof info};
    if (!went_well("describe", functions->describe(instance, &info))) return;
    if (info.view != PANCHROMA_JOINT || info.column_count > MAX_ITEMS || info.parameter_count > MAX_ITEMS) {
        printf("  not a head of joint vectors: left out\n");
        return;
    }
    PanchromaColumn columns[MAX_ITEMS];
    for (uint32_t i = 0; i < info.column_count; i++) {
        columns[i] = (PanchromaColumn){.size = sizeof *columns};
        went_well("column", functions->column(instance, i, &columns[i]));
    }
    PanchromaTensor *parameters[MAX_ITEMS], *gradients[MAX_ITEMS];
    char names[MAX_ITEMS][64];
    for (uint32_t i = 0; i < info.parameter_count; i++) {
        PanchromaParameter parameter = {.size = sizeof parameter};
        if (!went_well("parameter", functions->parameter(instance, i, &parameter))) abort();
        int64_t shape[PANCHROMA_MAX_AXES];
        for (uint32_t k = 0; k < parameter.axis_count; k++) shape[k] = (int64_t)parameter.shape[k];
        parameters[i] = tensor(PANCHROMA_F32, (int)parameter.axis_count, shape, 0);
        gradients[i] = tensor(PANCHROMA_F32, (int)parameter.axis_count, shape, 0);
        snprintf(names[i], sizeof names[i], "`%s`", parameter.name);
        for (size_t k = 0; k < count_of(parameters[i]); k++) {
            const double start = parameter.init == PANCHROMA_CONSTANT ? parameter.value : 0.0;
            ((float *)parameters[i]->data)[k] = (float)(start + 0.1 * sin(2.3 * (double)k + i));
        }
    }
    const uint64_t every[ROWS] = {0, 1, 2, 3, 4, 5, 6};
    PanchromaRows *rows = make_rows(columns, info.column_count, every, ROWS);
    const int64_t shape[2] = {ROWS, WIDTH}, wanted[2] = {ROWS, (int64_t)info.outputs};
    PanchromaTensor *vectors = tensor(PANCHROMA_F32, 2, shape, 0), *slopes = tensor(PANCHROMA_F32, 2, shape, 0);
    PanchromaTensor *predictions = info.outputs ? tensor(PANCHROMA_F32, 2, wanted, 0xA5) : NULL;
    uint8_t present[ROWS] = {1, 1, 1, 1, 1, 1, 0};
    for (int i = 0; i < (ROWS - 1) * WIDTH; i++) ((float *)vectors->data)[i] = (float)sin(0.9 * i * i + 0.2);
    const PanchromaTensor *inputs[1] = {vectors};
    const uint8_t *presents[1] = {present};
    const PanchromaHeadInput input = {sizeof input, 1, inputs, presents, rows};
    const PanchromaCompute compute = {sizeof compute, PANCHROMA_TRAIN, 1, 0, NULL};
    const PanchromaTensor *const *read_only = (const PanchromaTensor *const *)parameters;
    float loss = NAN;
    PanchromaStatus status = functions->forward(instance, &compute, &input, read_only, &loss, predictions, no_error());
    if (went_well("forward", status)) {
        printf("  loss %g\n", loss);
        EXPECT(isfinite(loss), "forward: a loss that isn't finite");
    }
    for (int i = 0; predictions != NULL && i < ROWS; i++) {
        printf("  row %d: predictions from %g\n", i, number(predictions, (size_t)i * info.outputs));
    }
    status = functions->backward(instance, &compute, &input, read_only, &slopes, gradients, no_error());
    if (went_well("backward", status)) {
        differences(functions, instance, &compute, &input, parameters, predictions, vectors, slopes, "the vectors");
        for (uint32_t i = 0; i < info.parameter_count; i++) {
            differences(functions, instance, &compute, &input, parameters, predictions, parameters[i], gradients[i],
                        names[i]);
        }
    }
    memset(present, 0, sizeof present);
    memset(vectors->data, 0, sizeof(float) * ROWS * WIDTH);
    status = functions->forward(instance, &compute, &input, read_only, &loss, predictions, no_error());
    EXPECT(status == PANCHROMA_NOTHING, "forward: status %d where no row counts", (int)status);
    for (uint32_t i = 0; i < info.parameter_count; i++) drop_tensor(parameters[i]), drop_tensor(gradients[i]);
    drop_tensor(vectors);
    drop_tensor(slopes);
    drop_tensor(predictions);
    drop_rows(rows);
}

/* ---- Plugin --------------------------------------------------------------------------------------------------- */

static const PanchromaComponent *find(const PanchromaPlugin *plugin, const char *name) {
    for (uint32_t i = 0; i < plugin->component_count; i++) {
        if (strcmp(plugin->components[i]->name, name) == 0) return plugin->components[i];
    }
    const PanchromaComponents *heads = plugin->extension == NULL ? NULL : plugin->extension(PANCHROMA_HEADS);
    for (uint32_t i = 0; heads != NULL && i < heads->count; i++) {
        if (strcmp(heads->items[i]->name, name) == 0) return heads->items[i];
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count < 4 || count % 2 != 0) {
        fprintf(stderr, "usage: %s LIBRARY COMPONENT CONFIG [COMPONENT CONFIG]...\n", arguments[0]);
        return 2;
    }
    void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    void *symbol = library == NULL ? NULL : dlsym(library, PANCHROMA_ENTRY);
    PanchromaEntry entry = NULL;
    memcpy(&entry, &symbol, sizeof entry); /* C has no cast from an object to a function */
    const PanchromaPlugin *plugin = entry == NULL ? NULL : entry(PANCHROMA_ABI);
    if (plugin == NULL || plugin->abi >> 16 != PANCHROMA_ABI_MAJOR) {
        const char *why = library == NULL ? dlerror() : "no table of this version";
        fprintf(stderr, "%s: %s\n", arguments[1], why);
        return 2;
    }
    static Modality modality;
    PanchromaArrays *arrays = NULL;
    void (*free_modality)(void *) = NULL;
    for (int i = 2; i + 1 < count; i += 2) {
        const PanchromaComponent *component = find(plugin, arguments[i]);
        printf("%s %s\n", arguments[i], arguments[i + 1]);
        if (component == NULL) {
            EXPECT(0, "no such component");
            break;
        }
        const char *modalities[1] = {"test"};
        PanchromaRequest request = {sizeof request, 1, arguments[i + 1], "test", NULL, modalities, WIDTH};
        if (component->kind == PANCHROMA_CODEC) request.arrays = &modality.info;
        void *instance = NULL;
        if (!went_well("create", component->create(&request, &instance, no_error()))) continue;
        EXPECT(instance != NULL, "create: no instance");
        if (instance == NULL) continue;
        if (component->kind == PANCHROMA_MODALITY) {
            drop_arrays(arrays);
            if (free_modality != NULL) free_modality(modality.instance);
            modality.functions = component->functions;
            modality.instance = instance;
            free_modality = component->destroy;
            arrays = drive_modality(&modality);
            continue;
        }
        if (component->kind == PANCHROMA_CODEC && arrays != NULL) {
            drive_codec(component->functions, instance, &modality, arrays);
        }
        if (component->kind == PANCHROMA_HEAD) drive_head(component->functions, instance);
        component->destroy(instance);
    }
    drop_arrays(arrays);
    if (free_modality != NULL) free_modality(modality.instance);
    printf(broken ? "broken\n" : "good\n");
    return broken;
}
