/* Prints the layout of the header, for a test that holds the Rust types against it. One fact a line:
 *   size STRUCT BYTES      offset STRUCT MEMBER BYTES      value CONSTANT NUMBER      text CONSTANT STRING
 * in the order of the header, names without their prefix. Every struct, member and constant of the header stands here.
 *
 *   cc -std=c99 -Wall -Wextra -Werror -I.. layout.c -o layout
 *   c++ -std=c++17 -Wall -Wextra -Werror -I.. -x c++ layout.c -o layout
 */
#include "panchroma.h"

#include <stddef.h>
#include <stdio.h>

#define SIZE(type) printf("size %s %lu\n", #type, (unsigned long)sizeof(Panchroma##type))
#define OFFSET(type, member) printf("offset %s %s %lu\n", #type, #member, (unsigned long)offsetof(Panchroma##type, member))
#define VALUE(name) printf("value %s %lu\n", #name, (unsigned long)PANCHROMA_##name)
#define TEXT(name) printf("text %s %s\n", #name, PANCHROMA_##name)

static void constants(void) {
    VALUE(ABI_MAJOR);
    VALUE(ABI_MINOR);
    VALUE(ABI);
    VALUE(OK);
    VALUE(INVALID);
    VALUE(FAILED);
    VALUE(PANIC);
    VALUE(NOTHING);
    VALUE(F32);
    VALUE(F64);
    VALUE(U8);
    VALUE(U32);
    VALUE(TEXT);
    VALUE(CPU);
    VALUE(CUDA);
    VALUE(TRAIN);
    VALUE(EVALUATE);
    VALUE(MAX_AXES);
    VALUE(MODALITY);
    VALUE(CODEC);
    VALUE(TOKENIZER);
    VALUE(HEAD);
    VALUE(DETERMINISTIC);
    VALUE(RANDOM);
    VALUE(ON_CUDA);
    VALUE(FOURIER);
    VALUE(LOG);
    VALUE(CATEGORY);
    VALUE(ZEROS);
    VALUE(CONSTANT);
    VALUE(NORMAL);
    VALUE(UNIFORM);
    VALUE(JOINT);
    VALUE(ISOLATED);
    TEXT(ENTRY);
    TEXT(TOKENIZERS);
    TEXT(HEADS);
}

static void structs(void) {
    SIZE(Error);
    OFFSET(Error, size);
    OFFSET(Error, capacity);
    OFFSET(Error, message);
    OFFSET(Error, row);

    SIZE(Text);
    OFFSET(Text, data);
    OFFSET(Text, length);

    SIZE(Tensor);
    OFFSET(Tensor, data);
    OFFSET(Tensor, device_type);
    OFFSET(Tensor, device_id);
    OFFSET(Tensor, ndim);
    OFFSET(Tensor, code);
    OFFSET(Tensor, bits);
    OFFSET(Tensor, lanes);
    OFFSET(Tensor, shape);
    OFFSET(Tensor, strides);
    OFFSET(Tensor, byte_offset);

    SIZE(Axis);
    OFFSET(Axis, size);
    OFFSET(Axis, reserved);
    OFFSET(Axis, name);
    OFFSET(Axis, longest);

    SIZE(Field);
    OFFSET(Field, size);
    OFFSET(Field, type);
    OFFSET(Field, name);
    OFFSET(Field, unit);
    OFFSET(Field, axis_count);
    OFFSET(Field, axes);
    OFFSET(Field, reserved);

    SIZE(ArraysInfo);
    OFFSET(ArraysInfo, size);
    OFFSET(ArraysInfo, axis_count);
    OFFSET(ArraysInfo, axes);
    OFFSET(ArraysInfo, field_count);
    OFFSET(ArraysInfo, valid_axis_count);
    OFFSET(ArraysInfo, fields);
    OFFSET(ArraysInfo, valid_axes);

    SIZE(Arrays);
    OFFSET(Arrays, size);
    OFFSET(Arrays, field_count);
    OFFSET(Arrays, count);
    OFFSET(Arrays, present);
    OFFSET(Arrays, valid);
    OFFSET(Arrays, fields);

    SIZE(Column);
    OFFSET(Column, size);
    OFFSET(Column, type);
    OFFSET(Column, depth);
    OFFSET(Column, optional);
    OFFSET(Column, path);

    SIZE(Data);
    OFFSET(Data, size);
    OFFSET(Data, type);
    OFFSET(Data, depth);
    OFFSET(Data, reserved);
    OFFSET(Data, present);
    OFFSET(Data, offsets);
    OFFSET(Data, values);
    OFFSET(Data, value_count);

    SIZE(Rows);
    OFFSET(Rows, size);
    OFFSET(Rows, column_count);
    OFFSET(Rows, count);
    OFFSET(Rows, ids);
    OFFSET(Rows, columns);
    OFFSET(Rows, mode);
    OFFSET(Rows, reserved);
    OFFSET(Rows, seed);
    OFFSET(Rows, epoch);
    OFFSET(Rows, random);

    SIZE(Request);
    OFFSET(Request, size);
    OFFSET(Request, modality_count);
    OFFSET(Request, config);
    OFFSET(Request, name);
    OFFSET(Request, arrays);
    OFFSET(Request, modalities);
    OFFSET(Request, width);

    SIZE(Component);
    OFFSET(Component, size);
    OFFSET(Component, kind);
    OFFSET(Component, flags);
    OFFSET(Component, reserved);
    OFFSET(Component, name);
    OFFSET(Component, summary);
    OFFSET(Component, example);
    OFFSET(Component, schema);
    OFFSET(Component, create);
    OFFSET(Component, destroy);
    OFFSET(Component, functions);

    SIZE(Components);
    OFFSET(Components, size);
    OFFSET(Components, count);
    OFFSET(Components, items);

    SIZE(Plugin);
    OFFSET(Plugin, abi);
    OFFSET(Plugin, size);
    OFFSET(Plugin, name);
    OFFSET(Plugin, version);
    OFFSET(Plugin, license);
    OFFSET(Plugin, publisher);
    OFFSET(Plugin, component_count);
    OFFSET(Plugin, reserved);
    OFFSET(Plugin, components);
    OFFSET(Plugin, extension);

    SIZE(ModalityInfo);
    OFFSET(ModalityInfo, size);
    OFFSET(ModalityInfo, column_count);
    OFFSET(ModalityInfo, axis_count);
    OFFSET(ModalityInfo, field_count);
    OFFSET(ModalityInfo, valid_axis_count);
    OFFSET(ModalityInfo, valid_axes);

    SIZE(Modality);
    OFFSET(Modality, size);
    OFFSET(Modality, reserved);
    OFFSET(Modality, describe);
    OFFSET(Modality, column);
    OFFSET(Modality, axis);
    OFFSET(Modality, field);
    OFFSET(Modality, plan);
    OFFSET(Modality, run);
    OFFSET(Modality, fit);
    OFFSET(Modality, fitted);
    OFFSET(Modality, restore);

    SIZE(Coordinate);
    OFFSET(Coordinate, size);
    OFFSET(Coordinate, encoding);
    OFFSET(Coordinate, name);
    OFFSET(Coordinate, unit);
    OFFSET(Coordinate, smallest);
    OFFSET(Coordinate, largest);
    OFFSET(Coordinate, count);
    OFFSET(Coordinate, metadata);

    SIZE(Tokens);
    OFFSET(Tokens, size);
    OFFSET(Tokens, reserved);
    OFFSET(Tokens, count);
    OFFSET(Tokens, present);
    OFFSET(Tokens, valid);
    OFFSET(Tokens, values);
    OFFSET(Tokens, coordinates);

    SIZE(CodecInfo);
    OFFSET(CodecInfo, size);
    OFFSET(CodecInfo, vocabulary);
    OFFSET(CodecInfo, max_tokens);
    OFFSET(CodecInfo, coordinate_count);
    OFFSET(CodecInfo, decodes);

    SIZE(Codec);
    OFFSET(Codec, size);
    OFFSET(Codec, reserved);
    OFFSET(Codec, describe);
    OFFSET(Codec, coordinate);
    OFFSET(Codec, plan);
    OFFSET(Codec, encode);
    OFFSET(Codec, decode);

    SIZE(Parameter);
    OFFSET(Parameter, size);
    OFFSET(Parameter, init);
    OFFSET(Parameter, name);
    OFFSET(Parameter, value);
    OFFSET(Parameter, decay);
    OFFSET(Parameter, axis_count);
    OFFSET(Parameter, shape);

    SIZE(Compute);
    OFFSET(Compute, size);
    OFFSET(Compute, mode);
    OFFSET(Compute, seed);
    OFFSET(Compute, step);
    OFFSET(Compute, stream);

    SIZE(TokenizerInfo);
    OFFSET(TokenizerInfo, size);
    OFFSET(TokenizerInfo, coordinate_count);
    OFFSET(TokenizerInfo, max_tokens);
    OFFSET(TokenizerInfo, width);
    OFFSET(TokenizerInfo, outputs);
    OFFSET(TokenizerInfo, parameter_count);
    OFFSET(TokenizerInfo, reserved);

    SIZE(Tokenizer);
    OFFSET(Tokenizer, size);
    OFFSET(Tokenizer, reserved);
    OFFSET(Tokenizer, describe);
    OFFSET(Tokenizer, coordinate);
    OFFSET(Tokenizer, parameter);
    OFFSET(Tokenizer, plan);
    OFFSET(Tokenizer, run);
    OFFSET(Tokenizer, forward);
    OFFSET(Tokenizer, backward);

    SIZE(HeadInfo);
    OFFSET(HeadInfo, size);
    OFFSET(HeadInfo, view);
    OFFSET(HeadInfo, column_count);
    OFFSET(HeadInfo, parameter_count);
    OFFSET(HeadInfo, outputs);

    SIZE(HeadInput);
    OFFSET(HeadInput, size);
    OFFSET(HeadInput, input_count);
    OFFSET(HeadInput, inputs);
    OFFSET(HeadInput, present);
    OFFSET(HeadInput, rows);

    SIZE(Head);
    OFFSET(Head, size);
    OFFSET(Head, reserved);
    OFFSET(Head, describe);
    OFFSET(Head, column);
    OFFSET(Head, parameter);
    OFFSET(Head, forward);
    OFFSET(Head, backward);
}

int main(void) {
    constants();
    structs();
    return 0;
}
