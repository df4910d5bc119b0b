// Shared memory, and kernels by name as the driver of a GPU finds them. Included by emulation.hpp.
#pragma once

#define SHARED_ARRAY(type, name, extents)                                                            \
    static char name##_key;                                                                          \
    using name##_type = type extents;                                                                \
    name##_type& name = *static_cast<name##_type*>(emul::shared_array(&name##_key, sizeof(name##_type), 16))
#define DYNAMIC_SHARED(name) unsigned char* name = static_cast<unsigned char*>(emul::dynamic_shared())

namespace emul {

// One kernel of the table. Its argument is a struct that is passed by value, as args[0].
struct Kernel {
    const char* name;
    size_t argument_bytes;
    unsigned most_threads;
    void (*body)(const void* argument);
    const Kernel* next;

    Kernel(const char* name_, size_t bytes, unsigned threads, void (*body_)(const void*));
};

}  // namespace emul

#define KERNEL(name, most_threads, ...)                                                      \
    static const emul::Kernel kernel_##name(#name, sizeof(__VA_ARGS__), most_threads, [](const void* argument) { \
        static_cast<const __VA_ARGS__*>(argument)->run();                                    \
    });
