// SPDX-License-Identifier: BSD-3-Clause
// The first code of each program: exits with one sentence if the processor lacks an instruction set
// of this build, instead of an illegal instruction later.
//
// Runs before every constructor (.preinit_array), in libraries as well. This file alone is compiled
// for the oldest x86-64. POSTERN_NEEDS lists the features, as lib/base/meson.build found them in
// the compiler's macros: NEEDS("avx2", "AVX2") and so on.
#include <cstring>

#include <unistd.h>

extern "C" {
/// Makes the linker include this file in each program (-u, see lib/base/meson.build).
extern const int postern_processor_check;
const int postern_processor_check = 0;
}

namespace {

constexpr int kCannotRun = 1;

void say(const char* text) {
    if (write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

/// The C library is not initialised yet: only system calls and strings work.
void check_processor(int, char** argv, char**) {
    __builtin_cpu_init();
    const char* missing[32];
    unsigned n = 0;
#define NEEDS(feature, name) \
    if (!__builtin_cpu_supports(feature)) missing[n++] = name;
    POSTERN_NEEDS
#undef NEEDS
    if (n == 0) return;
    say(argv[0] != nullptr ? argv[0] : "postern");
    say(": this program is compiled for processors with ");
    for (unsigned i = 0; i < n; ++i) {
        say(i == 0 ? "" : i + 1 == n ? " and " : ", ");
        say(missing[i]);
    }
    say(", which this one does not have or announce (scripts/build.sh -D cpu=x86-64-v2 compiles "
        "for "
        "older ones)\n");
    _exit(kCannotRun);
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const check_first)(int, char**,
                                                                        char**) = check_processor;

}  // namespace
