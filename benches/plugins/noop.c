/* noop.c - a modality that does nothing but hand its column on: what is left is what a call costs.
 *
 *   cc -std=c99 -O2 -shared -fPIC -fvisibility=hidden -Iplugins/abi -o libnoop.so benches/plugins/noop.c
 */
#include "panchroma.h"

#include <string.h>

#define LENGTH 1024

static PanchromaStatus create(const PanchromaRequest *request, void **instance, PanchromaError *error) {
    static int nothing;
    (void)request, (void)error;
    *instance = &nothing;
    return PANCHROMA_OK;
}

static void destroy(void *instance) { (void)instance; }

static PanchromaStatus describe(const void *instance, PanchromaModalityInfo *info) {
    (void)instance;
    info->column_count = info->axis_count = info->field_count = 1;
    info->valid_axis_count = 0;
    return PANCHROMA_OK;
}

static PanchromaStatus column(const void *instance, uint32_t index, PanchromaColumn *column) {
    (void)instance, (void)index;
    column->type = PANCHROMA_F32;
    column->depth = 1;
    column->path = "values";
    return PANCHROMA_OK;
}

static PanchromaStatus axis(const void *instance, uint32_t index, PanchromaAxis *axis) {
    (void)instance, (void)index;
    axis->name = "L";
    axis->longest = LENGTH;
    return PANCHROMA_OK;
}

static PanchromaStatus field(const void *instance, uint32_t index, PanchromaField *field) {
    (void)instance, (void)index;
    field->type = PANCHROMA_F32;
    field->name = "values";
    field->unit = "";
    field->axis_count = 1;
    return PANCHROMA_OK;
}

static PanchromaStatus run(const void *instance, const PanchromaRows *rows, PanchromaArrays *arrays,
                           PanchromaError *error) {
    const PanchromaData *data = rows->columns[0];
    float *to = arrays->fields[0]->data;
    uint8_t *valid = arrays->valid->data;
    (void)instance;
    for (uint64_t row = 0; row < rows->count; row++) {
        const uint64_t start = data->offsets[0][row], count = data->offsets[0][row + 1] - start;
        if (!data->present[row]) continue;
        if (count != LENGTH) {
            if (error != NULL) error->row = (int64_t)row;
            return PANCHROMA_INVALID;
        }
        memcpy(to + row * LENGTH, (const float *)data->values + start, LENGTH * sizeof(float));
        arrays->present[row] = valid[row] = 1;
    }
    return PANCHROMA_OK;
}

static const PanchromaModality FUNCTIONS = {
    .size = sizeof FUNCTIONS, .describe = describe, .column = column, .axis = axis, .field = field, .run = run};

static const PanchromaComponent NOOP = {
    .size = sizeof NOOP,
    .kind = PANCHROMA_MODALITY,
    .flags = PANCHROMA_DETERMINISTIC,
    .name = "noop",
    .summary = "hands its column on",
    .example = "",
    .schema = "{ \"type\": \"object\", \"additionalProperties\": false }",
    .create = create,
    .destroy = destroy,
    .functions = &FUNCTIONS,
};

static const PanchromaComponent *const COMPONENTS[] = {&NOOP};

static const PanchromaPlugin PLUGIN = {
    .abi = PANCHROMA_ABI,
    .size = sizeof PLUGIN,
    .name = "noop",
    .version = "0.1.0",
    .license = "Apache-2.0 OR MIT",
    .publisher = "Panchroma",
    .component_count = 1,
    .components = COMPONENTS,
};

const PanchromaPlugin *panchroma_plugin(uint32_t host_abi) {
    return host_abi >> 16 == PANCHROMA_ABI_MAJOR ? &PLUGIN : NULL;
}
