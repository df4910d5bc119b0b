// gravitational_waves.cpp - a plugin of Panchroma in C++17: strain of gravitational-wave detectors, and a head that
// learns the distance.
//
//   c++ -std=c++17 -O2 -shared -fPIC -fvisibility=hidden -Wall -Wextra -Werror -I../../abi
//      -o libgravitational_waves.so gravitational_waves.cpp
//
// What the functions at the border have to do is written in panchroma.h. Read this file from its end: the entry returns
// a table, the table names a modality, and the extension `panchroma.heads.1` names a head.
//
// C++ may throw, and nothing thrown may leave a plugin: every function at the border is `noexcept` and hands what may
// throw to `guard`, which turns exceptions into a status and a message. Behind the border this is C++ as usual.
//
// Licence of this file: Apache-2.0 OR MIT.
#include "panchroma.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <limits>
#include <locale>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace {

// ---- The border: exceptions -> status and message ----------------------------------------------------------------

/// The config or a row makes no sense. Everything else that is thrown counts as a bug.
struct Invalid : std::runtime_error {
    std::int64_t row;
    explicit Invalid(const std::string &what, std::int64_t row = -1) : std::runtime_error(what), row(row) {}
};

PanchromaStatus report(PanchromaError *error, PanchromaStatus status, std::int64_t row, const char *what) noexcept {
    if (error == nullptr) return status;
    error->row = row;
    if (error->message == nullptr || error->capacity == 0) return status;
    std::size_t length = std::min<std::size_t>(std::strlen(what), error->capacity - 1);
    // If it was cut: not inside a letter of several bytes.
    while (length > 0 && (static_cast<unsigned char>(what[length]) & 0xC0) == 0x80) length--;
    std::memcpy(error->message, what, length);
    error->message[length] = '\0';
    return status;
}

/// Calls `body`, which returns a status or nothing, and lets no exception out.
template <class Body>
PanchromaStatus guard(PanchromaError *error, Body &&body) noexcept {
    try {
        if constexpr (std::is_void_v<decltype(body())>) {
            body();
            return PANCHROMA_OK;
        } else {
            return body();
        }
    } catch (const Invalid &invalid) {
        return report(error, PANCHROMA_INVALID, invalid.row, invalid.what());
    } catch (const std::exception &exception) {
        return report(error, PANCHROMA_PANIC, -1, exception.what());
    } catch (...) {
        return report(error, PANCHROMA_PANIC, -1, "something was thrown that is no std::exception");
    }
}

// ---- The config: a JSON object of numbers, flags, texts and lists of texts ---------------------------------------

class Config {
    using Value = std::variant<double, bool, std::string, std::vector<std::string>>;
    const char *at;
    std::map<std::string, Value> values;

    char next() {
        while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n') at++;
        return *at;
    }
    void expect(char wanted) {
        if (next() != wanted) throw Invalid(std::string("the config is no JSON: expected `") + wanted + "`");
        at++;
    }
    bool took(const char *word) {
        if (std::strncmp(at, word, std::strlen(word)) != 0) return false;
        at += std::strlen(word);
        return true;
    }
    std::string text() {
        std::string out;
        expect('"');
        for (; *at != '"'; at++) {
            if (*at == '\\') {
                // Names of columns need no others.
                if (*++at != '"' && *at != '\\' && *at != '/') throw Invalid("a text has a letter that isn't allowed");
                out += *at;
            } else if (*at == '\0') {
                throw Invalid("a text of the config doesn't end");
            } else {
                out += *at;
            }
        }
        at++;
        return out;
    }
    Value value() {
        if (next() == '"') return text();
        if (took("true")) return true;
        if (took("false")) return false;
        if (took("[")) {
            std::vector<std::string> list;
            if (next() != ']') {
                do list.push_back(text());
                while (next() == ',' && at++);
            }
            expect(']');
            return list;
        }
        const std::string digits(at, std::strspn(at, "+-.eE0123456789"));
        std::istringstream stream(digits);
        stream.imbue(std::locale::classic()); // whatever the host's locale: 0.5 has a point
        double number = 0.0;
        if (!(stream >> number)) throw Invalid(std::string("a value of the config can't be read, at `") + at + "`");
        at += digits.size();
        return number;
    }

public:
    explicit Config(const char *json) : at(json == nullptr ? "{}" : json) {
        expect('{');
        if (next() != '}') {
            do {
                std::string key = text();
                expect(':');
                values[std::move(key)] = value();
            } while (next() == ',' && at++);
        }
        expect('}');
    }

    template <class T>
    T get(const std::string &key, T otherwise) const {
        const auto found = values.find(key);
        if (found == values.end()) return otherwise;
        if (const T *value = std::get_if<T>(&found->second)) return *value;
        throw Invalid("`" + key + "` has the wrong type");
    }
    double number(const std::string &key, double otherwise, double least, double most) const {
        const double value = get<double>(key, otherwise);
        if (value >= least && value <= most) return value;
        std::ostringstream what;
        what << "`" << key << "` must be " << least << " to " << most << ", got " << value;
        throw Invalid(what.str());
    }
    std::uint64_t whole(const std::string &key, double otherwise, double least, double most) const {
        const double value = number(key, otherwise, least, most);
        if (value != std::floor(value)) throw Invalid("`" + key + "` must be a whole number");
        return std::uint64_t(value);
    }
};

template <class T>
T *data_of(const PanchromaTensor *tensor) {
    return static_cast<T *>(tensor->data);
}

// ---- Modality: strain -> whitened windows ------------------------------------------------------------------------

constexpr double UNKNOWN = std::numeric_limits<double>::quiet_NaN();

/// What of `strain` the values before don't foretell, with a variance of 1; NaN where it isn't known.
///
/// A detector's noise is coloured: nearly all of its power is at low frequencies and in lines. A linear prediction from
/// the last `order` values takes that out; its coefficients solve the Yule-Walker equations by Levinson and Durbin's
/// recursion. Gaps count as 0 in the autocovariance, which keeps it one that a series may have.
std::vector<double> whiten(const double *strain, std::size_t length, std::size_t order) {
    std::vector<double> series(strain, strain + length), out(length, UNKNOWN);
    double sum = 0.0, squares = 0.0;
    std::size_t known = 0;
    for (const double value : series) {
        if (std::isfinite(value)) sum += value, known++;
    }
    const double mean = known > 0 ? sum / double(known) : 0.0;
    for (const double value : series) {
        if (std::isfinite(value)) squares += (value - mean) * (value - mean);
    }
    const double scale = std::sqrt(squares / double(std::max<std::size_t>(known, 1)));
    // Nothing, one number over and over, or numbers that no square can hold: no measurement.
    if (!(scale > 0.0) || !std::isfinite(scale)) return out;
    for (double &value : series) value = (value - mean) / scale;

    order = std::min(order, known / 4);
    const auto at = [&](std::size_t i) { return std::isfinite(series[i]) ? series[i] : 0.0; };
    std::vector<double> covariance(order + 1, 0.0), filter(order + 1, 0.0), before;
    for (std::size_t lag = 0; lag <= order; lag++) {
        for (std::size_t i = lag; i < length; i++) covariance[lag] += at(i) * at(i - lag);
    }
    double left = covariance[0] * (1.0 + 1e-9);
    for (std::size_t k = 1; k <= order && left > 1e-12 * covariance[0]; k++) {
        double reflection = covariance[k];
        for (std::size_t j = 1; j < k; j++) reflection -= filter[j] * covariance[k - j];
        reflection /= left;
        before = filter;
        filter[k] = reflection;
        for (std::size_t j = 1; j < k; j++) filter[j] = before[j] - reflection * before[k - j];
        left *= 1.0 - reflection * reflection;
    }

    double power = 0.0;
    std::size_t count = 0, run = 0; // `run`: finite values in a row up to here
    for (std::size_t i = 0; i < length; i++) {
        run = std::isfinite(series[i]) ? run + 1 : 0;
        if (run <= order) continue;
        double value = series[i];
        for (std::size_t k = 1; k <= order; k++) value -= filter[k] * series[i - k];
        out[i] = value;
        power += value * value;
        count++;
    }
    const double deviation = std::sqrt(power / double(std::max<std::size_t>(count, 1)));
    for (double &value : out) value = deviation > 0.0 ? value / deviation : UNKNOWN;
    return out;
}

enum Field : std::uint32_t { TIME, VALUES, WEIGHT, FIELDS };

struct Strain {
    std::vector<std::string> paths;
    double rate;
    std::uint64_t window, order, jitter;
    bool fail;

    explicit Strain(const Config &config)
        : rate(config.number("rate", 4096.0, 1e-3, 1e9)), window(config.whole("window", 256, 1, 65536)),
          order(config.whole("order", 16, 0, 1024)), jitter(config.whole("jitter", 0, 0, 65536)),
          fail(config.get<bool>("fail", false)) {
        const auto column = config.get<std::string>("column", "strain");
        for (const auto &detector : config.get<std::vector<std::string>>("detectors", {"H1", "L1"})) {
            paths.push_back(column.empty() ? detector : column + "." + detector);
        }
        if (paths.empty() || paths.size() > 64) throw Invalid("`detectors` must be 1 to 64 names");
    }

    /// Length of the row's lists, 0 if there are none.
    std::uint64_t length(const PanchromaRows &rows, std::uint64_t row) const {
        std::uint64_t length = 0;
        for (std::size_t i = 0; i < paths.size(); i++) {
            const PanchromaData &data = *rows.columns[i];
            const std::uint64_t own = data.present[row] ? data.offsets[0][row + 1] - data.offsets[0][row] : 0;
            if (own == 0 || own == length) continue;
            if (length > 0) {
                throw Invalid("the detectors' lists differ in length: " + std::to_string(length) + " and, in `" +
                                  paths[i] + "`, " + std::to_string(own),
                              std::int64_t(row));
            }
            length = own;
        }
        return length;
    }

    void plan(const PanchromaRows &rows, std::uint64_t *lengths) const {
        std::uint64_t longest = 1;
        for (std::uint64_t row = 0; row < rows.count; row++) longest = std::max(longest, length(rows, row));
        lengths[0] = std::min(lengths[0], longest);
    }

    void run(const PanchromaRows &rows, PanchromaArrays &arrays) const {
        if (fail) throw std::logic_error("`fail` is set: this is how an exception of a plugin looks");
        const std::size_t room = std::size_t(arrays.valid->shape[1]), detectors = paths.size();
        auto *valid = data_of<std::uint8_t>(arrays.valid);
        auto *time = data_of<float>(arrays.fields[TIME]);
        auto *values = data_of<float>(arrays.fields[VALUES]);
        auto *weight = data_of<float>(arrays.fields[WEIGHT]);
        for (std::uint64_t row = 0; row < rows.count; row++) {
            const std::uint64_t all = length(rows, row);
            if (all == 0) continue;
            const std::uint64_t kept = std::min<std::uint64_t>({all, window, room});
            std::uint64_t start = (all - kept) / 2;
            if (rows.mode == PANCHROMA_TRAIN && rows.random != nullptr) {
                // One number per object and epoch, from the host: the same whatever the batch and the thread.
                const std::uint64_t shifted = start + rows.random[row] % (2 * jitter + 1);
                start = std::min(std::max(shifted, jitter) - jitter, all - kept);
            }
            std::vector<std::vector<double>> white(detectors);
            for (std::size_t d = 0; d < detectors; d++) {
                const PanchromaData &data = *rows.columns[d];
                if (!data.present[row] || data.offsets[0][row + 1] == data.offsets[0][row]) continue;
                white[d] = whiten(static_cast<const double *>(data.values) + data.offsets[0][row], all, order);
            }
            for (std::uint64_t i = 0; i < kept; i++) {
                const std::size_t to = row * room + i;
                time[to] = float((double(start + i) - double(all) / 2.0) / rate);
                for (std::size_t d = 0; d < detectors; d++) {
                    const bool known = !white[d].empty() && std::isfinite(white[d][start + i]);
                    // A place is valid if one detector measured there; the others say by their weight that they didn't.
                    values[to * detectors + d] = known ? float(white[d][start + i]) : 0.0f;
                    weight[to * detectors + d] = known ? 1.0f : 0.0f;
                    if (known) valid[to] = arrays.present[row] = 1;
                }
            }
        }
    }
};

// ---- Head: joint vector -> distance ------------------------------------------------------------------------------

struct LogDistance {
    std::string path;
    double typical, huber;
    std::uint64_t width;

    LogDistance(const Config &config, std::uint64_t width)
        : path(config.get<std::string>("column", "luminosity_distance")),
          typical(config.number("typical", 400.0, 1e-6, 1e12)), huber(config.number("huber", 0.1, 1e-6, 1e6)),
          width(width) {}

    /// Decimal logarithm of the distance as the parameters have it.
    double guess(const PanchromaHeadInput &input, const PanchromaTensor *const *parameters, std::uint64_t row) const {
        const auto *vector = data_of<const float>(input.inputs[0]) + row * width;
        const auto *weight = data_of<const float>(parameters[0]);
        double sum = data_of<const float>(parameters[1])[0];
        for (std::uint64_t i = 0; i < width; i++) sum += double(weight[i]) * vector[i];
        return sum;
    }

    /// The same as the catalogue has it; NaN for a row that doesn't count.
    static double truth(const PanchromaHeadInput &input, std::uint64_t row) {
        const PanchromaData &data = *input.rows->columns[0];
        const double distance = static_cast<const double *>(data.values)[row];
        const bool counts = input.present[0][row] && data.present[row] && distance > 0.0;
        return counts && std::isfinite(distance) ? std::log10(distance) : UNKNOWN;
    }

    PanchromaStatus forward(const PanchromaHeadInput &input, const PanchromaTensor *const *parameters, float *loss,
                            PanchromaTensor *predictions) const {
        double sum = 0.0;
        std::uint64_t count = 0;
        for (std::uint64_t row = 0; row < input.rows->count; row++) {
            const double own = guess(input, parameters, row);
            // In the units of the data, and in the range of a float.
            data_of<float>(predictions)[row] = float(std::pow(10.0, std::clamp(own, -37.0, 38.0)));
            const double known = truth(input, row), wrong = std::abs(own - known);
            if (std::isnan(known)) continue;
            sum += wrong <= huber ? 0.5 * wrong * wrong : huber * (wrong - 0.5 * huber);
            count++;
        }
        if (count == 0) return PANCHROMA_NOTHING;
        *loss = float(sum / double(count));
        return PANCHROMA_OK;
    }

    /// The loss's slope in a guess is its error, cut at `huber`; the guess is linear in everything.
    void backward(const PanchromaHeadInput &input, const PanchromaTensor *const *parameters,
                  PanchromaTensor *const *inputs_gradients, PanchromaTensor *const *parameters_gradients) const {
        std::vector<double> slopes(input.rows->count);
        std::uint64_t count = 0;
        for (std::uint64_t row = 0; row < input.rows->count; row++) {
            const double known = truth(input, row);
            if (std::isnan(known)) continue;
            slopes[row] = std::clamp(guess(input, parameters, row) - known, -huber, huber);
            count++;
        }
        const auto *vectors = data_of<const float>(input.inputs[0]);
        const auto *weight = data_of<const float>(parameters[0]);
        auto *vectors_gradient = data_of<float>(inputs_gradients[0]);
        std::vector<double> weight_gradient(width, 0.0);
        double bias_gradient = 0.0;
        for (std::uint64_t row = 0; row < input.rows->count; row++) {
            if (slopes[row] == 0.0) continue;
            const double slope = slopes[row] / double(count);
            bias_gradient += slope;
            for (std::uint64_t i = 0; i < width; i++) {
                weight_gradient[i] += slope * vectors[row * width + i];
                vectors_gradient[row * width + i] += float(slope * weight[i]);
            }
        }
        auto *out = data_of<float>(parameters_gradients[0]);
        for (std::uint64_t i = 0; i < width; i++) out[i] += float(weight_gradient[i]);
        data_of<float>(parameters_gradients[1])[0] += float(bias_gradient);
    }
};

// ---- Functions at the border: casts, and `guard` around what may throw --------------------------------------------

template <class T>
const T &self(const void *instance) {
    return *static_cast<const T *>(instance);
}

template <class T>
void destroy(void *instance) noexcept {
    delete static_cast<T *>(instance);
}

PanchromaStatus strain_create(const PanchromaRequest *request, void **instance, PanchromaError *error) noexcept {
    return guard(error, [&] { *instance = std::make_unique<Strain>(Config(request->config)).release(); });
}

PanchromaStatus strain_describe(const void *instance, PanchromaModalityInfo *info) noexcept {
    info->column_count = std::uint32_t(self<Strain>(instance).paths.size());
    info->axis_count = 2;
    info->field_count = FIELDS;
    info->valid_axis_count = 1;
    info->valid_axes[0] = 0;
    return PANCHROMA_OK;
}

PanchromaStatus strain_column(const void *instance, std::uint32_t index, PanchromaColumn *column) noexcept {
    const auto &paths = self<Strain>(instance).paths;
    if (index >= paths.size()) return PANCHROMA_INVALID;
    column->type = PANCHROMA_F64; // 1e-21 is a float too, its square isn't
    column->depth = 1;
    column->optional = 0;
    column->path = paths[index].c_str();
    return PANCHROMA_OK;
}

PanchromaStatus strain_axis(const void *instance, std::uint32_t index, PanchromaAxis *axis) noexcept {
    if (index >= 2) return PANCHROMA_INVALID;
    axis->name = index == 0 ? "L" : "F";
    axis->longest = index == 0 ? self<Strain>(instance).window : self<Strain>(instance).paths.size();
    return PANCHROMA_OK;
}

/// Named as those of `time_series`, so that its tokenizers read them.
PanchromaStatus strain_field(const void *, std::uint32_t index, PanchromaField *field) noexcept {
    constexpr const char *names[FIELDS] = {"time", "values", "weight"};
    if (index >= FIELDS) return PANCHROMA_INVALID;
    field->type = PANCHROMA_F32;
    field->name = names[index];
    field->unit = index == TIME ? "s" : "";
    field->axis_count = index == TIME ? 1 : 2;
    field->axes[0] = 0;
    field->axes[1] = index == TIME ? 0 : 1;
    return PANCHROMA_OK;
}

PanchromaStatus strain_plan(const void *instance, const PanchromaRows *rows, std::uint64_t *lengths,
                            PanchromaError *error) noexcept {
    return guard(error, [&] { self<Strain>(instance).plan(*rows, lengths); });
}

PanchromaStatus strain_run(const void *instance, const PanchromaRows *rows, PanchromaArrays *arrays,
                           PanchromaError *error) noexcept {
    return guard(error, [&] { self<Strain>(instance).run(*rows, *arrays); });
}

PanchromaStatus distance_create(const PanchromaRequest *request, void **instance, PanchromaError *error) noexcept {
    return guard(error, [&] {
        *instance = std::make_unique<LogDistance>(Config(request->config), request->width).release();
    });
}

PanchromaStatus distance_describe(const void *, PanchromaHeadInfo *info) noexcept {
    info->view = PANCHROMA_JOINT;
    info->column_count = 1;
    info->parameter_count = 2;
    info->outputs = 1;
    return PANCHROMA_OK;
}

PanchromaStatus distance_column(const void *instance, std::uint32_t index, PanchromaColumn *column) noexcept {
    if (index >= 1) return PANCHROMA_INVALID;
    column->type = PANCHROMA_F64;
    column->depth = 0;
    column->optional = 0;
    column->path = self<LogDistance>(instance).path.c_str();
    return PANCHROMA_OK;
}

PanchromaStatus distance_parameter(const void *instance, std::uint32_t index, PanchromaParameter *parameter) noexcept {
    const auto &head = self<LogDistance>(instance);
    if (index >= 2) return PANCHROMA_INVALID;
    const bool weight = index == 0;
    parameter->name = weight ? "weight" : "bias";
    parameter->init = weight ? PANCHROMA_NORMAL : PANCHROMA_CONSTANT;
    parameter->value = weight ? 0.02 : std::log10(head.typical);
    parameter->decay = weight ? 1 : 0;
    parameter->axis_count = 1;
    parameter->shape[0] = weight ? head.width : 1;
    return PANCHROMA_OK;
}

PanchromaStatus distance_forward(const void *instance, const PanchromaCompute *, const PanchromaHeadInput *input,
                                 const PanchromaTensor *const *parameters, float *loss, PanchromaTensor *predictions,
                                 PanchromaError *error) noexcept {
    return guard(error, [&] { return self<LogDistance>(instance).forward(*input, parameters, loss, predictions); });
}

PanchromaStatus distance_backward(const void *instance, const PanchromaCompute *, const PanchromaHeadInput *input,
                                  const PanchromaTensor *const *parameters, PanchromaTensor *const *inputs_gradients,
                                  PanchromaTensor *const *parameters_gradients, PanchromaError *error) noexcept {
    return guard(error, [&] {
        self<LogDistance>(instance).backward(*input, parameters, inputs_gradients, parameters_gradients);
    });
}

// ---- The tables --------------------------------------------------------------------------------------------------

// Members are set by name: a later header has more of them, and what isn't named is 0.
const PanchromaModality STRAIN_FUNCTIONS = [] {
    PanchromaModality table{};
    table.size = sizeof table;
    table.describe = strain_describe;
    table.column = strain_column;
    table.axis = strain_axis;
    table.field = strain_field;
    table.plan = strain_plan;
    table.run = strain_run;
    return table;
}();

const PanchromaComponent STRAIN = [] {
    PanchromaComponent table{};
    table.size = sizeof table;
    table.kind = PANCHROMA_MODALITY;
    table.flags = PANCHROMA_DETERMINISTIC | PANCHROMA_RANDOM;
    table.name = "strain";
    table.summary = "whitened windows of gravitational-wave detectors' strain";
    table.example = "detectors = [\"H1\", \"L1\"]\nrate = 4096.0\nwindow = 256\n";
    table.schema = R"({"type": "object", "additionalProperties": false, "properties": {
"column": {"type": "string", "default": "strain", "description":
 "Struct column with a list of strain per detector. Empty if the lists are columns themselves. Default `strain`."},
"detectors": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": 64,
 "default": ["H1", "L1"], "description": "Names of the lists, one per detector. Default `[\"H1\", \"L1\"]`."},
"rate": {"type": "number", "minimum": 1e-3, "maximum": 1e9, "default": 4096.0, "description":
 "Samples per second. Default 4096."},
"window": {"type": "integer", "minimum": 1, "maximum": 65536, "default": 256, "description":
 "Samples that are kept, from the middle of the list. Default 256."},
"order": {"type": "integer", "minimum": 0, "maximum": 1024, "default": 16, "description":
 "Samples from which the next is foretold; what is foretold is taken out. 0: nothing is. Default 16."},
"jitter": {"type": "integer", "minimum": 0, "maximum": 65536, "default": 0, "description":
 "Samples by which the window is moved at random in training, at most, to either side. Default 0."},
"fail": {"type": "boolean", "default": false, "description":
 "Whether to throw an exception instead of reading rows: a demonstration of how that is told. Default false."}}})";
    table.create = strain_create;
    table.destroy = destroy<Strain>;
    table.functions = &STRAIN_FUNCTIONS;
    return table;
}();

const PanchromaHead DISTANCE_FUNCTIONS = [] {
    PanchromaHead table{};
    table.size = sizeof table;
    table.describe = distance_describe;
    table.column = distance_column;
    table.parameter = distance_parameter;
    table.forward = distance_forward;
    table.backward = distance_backward;
    return table;
}();

const PanchromaComponent DISTANCE = [] {
    PanchromaComponent table{};
    table.size = sizeof table;
    table.kind = PANCHROMA_HEAD;
    table.flags = PANCHROMA_DETERMINISTIC;
    table.name = "log_distance";
    table.summary = "a distance, learned in its logarithm, from the joint vector";
    table.example = "column = \"luminosity_distance\"\ntypical = 400.0\n";
    table.schema = R"({"type": "object", "additionalProperties": false, "properties": {
"column": {"type": "string", "minLength": 1, "default": "luminosity_distance", "description":
 "Column of the distance, in any unit. Default `luminosity_distance`."},
"typical": {"type": "number", "minimum": 1e-6, "maximum": 1e12, "default": 400.0, "description":
 "Distance that is guessed before anything is learned, in the unit of the column. Default 400."},
"huber": {"type": "number", "minimum": 1e-6, "maximum": 1e6, "default": 0.1, "description":
 "Error, in decades, from which the loss grows no more by its square but straight. Default 0.1."}}})";
    table.create = distance_create;
    table.destroy = destroy<LogDistance>;
    table.functions = &DISTANCE_FUNCTIONS;
    return table;
}();

const PanchromaComponent *const COMPONENTS[] = {&STRAIN};
const PanchromaComponent *const HEAD_ITEMS[] = {&DISTANCE};
const PanchromaComponents HEADS = {sizeof(PanchromaComponents), 1, HEAD_ITEMS};

const void *extension(const char *id) noexcept {
    return id != nullptr && std::strcmp(id, PANCHROMA_HEADS) == 0 ? &HEADS : nullptr;
}

const PanchromaPlugin PLUGIN = [] {
    PanchromaPlugin table{};
    table.abi = PANCHROMA_ABI;
    table.size = sizeof table;
    table.name = "gravitational-waves";
    table.version = "0.1.0";
    table.license = "Apache-2.0 OR MIT";
    table.publisher = "Panchroma";
    table.component_count = 1;
    table.components = COMPONENTS;
    table.extension = extension;
    return table;
}();

} // namespace

extern "C" PANCHROMA_EXPORT const PanchromaPlugin *panchroma_plugin(std::uint32_t host_abi) {
    return host_abi >> 16 == PANCHROMA_ABI_MAJOR ? &PLUGIN : nullptr;
}
