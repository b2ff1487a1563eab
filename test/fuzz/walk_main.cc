// SPDX-License-Identifier: BSD-3-Clause
// Runs a fuzz target without libFuzzer, and so with any compiler: the files named, and random
// changes of them. The same seed gives the same inputs.
//
//   TARGET [-runs=N] [-seed=N] FILE|FOLDER...
//
// Before an oracle aborts, the input is in walk-input (in the working directory).
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerInitialize(int*, char***);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;
constexpr std::size_t kLongest = 600;

Input read(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return Input(std::istreambuf_iterator<char>(file), {});
}

void try_one(const Input& input) {
    {
        std::ofstream file("walk-input", std::ios::binary | std::ios::trunc);
        file.write(reinterpret_cast<const char*>(input.data()),
                   static_cast<std::streamsize>(input.size()));
    }
    LLVMFuzzerTestOneInput(input.data(), input.size());
}

/// Bytes are changed, taken out, put in, or come from another input.
Input change(const std::vector<Input>& seeds, std::mt19937& random) {
    Input input = seeds[random() % seeds.size()];
    for (unsigned n = 1 + random() % 8; n != 0; --n) {
        const std::size_t at = input.empty() ? 0 : random() % input.size();
        const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
        switch (random() % 4) {
            case 0:
                if (!input.empty()) input[at] = static_cast<std::uint8_t>(random());
                break;
            case 1: input.insert(place, static_cast<std::uint8_t>(random())); break;
            case 2:
                if (!input.empty()) input.erase(place);
                break;
            case 3: {
                const Input& other = seeds[random() % seeds.size()];
                if (other.empty()) break;
                const auto from =
                    other.begin() + static_cast<std::ptrdiff_t>(random() % other.size());
                input.insert(place, from, other.end());
                break;
            }
        }
    }
    if (input.size() > kLongest) input.resize(kLongest);
    return input;
}

}  // namespace

int main(int argc, char** argv) {
    unsigned runs = 1000, seed = 1;
    std::vector<Input> seeds;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument.starts_with("-runs=")) {
            runs = static_cast<unsigned>(std::stoul(argument.substr(6)));
        } else if (argument.starts_with("-seed=")) {
            seed = static_cast<unsigned>(std::stoul(argument.substr(6)));
        } else if (std::filesystem::is_directory(argument)) {
            std::vector<std::filesystem::path> paths;
            for (const auto& entry : std::filesystem::directory_iterator(argument))
                paths.push_back(entry.path());
            std::sort(paths.begin(), paths.end());
            for (const auto& path : paths)
                seeds.push_back(read(path));
        } else {
            seeds.push_back(read(argument));
        }
    }
    if (seeds.empty()) {
        std::fprintf(stderr, "no input: name files or folders\n");
        return 2;
    }
    LLVMFuzzerInitialize(&argc, &argv);
    for (const Input& input : seeds)
        try_one(input);
    std::mt19937 random(seed);
    for (unsigned n = 0; n < runs; ++n)
        try_one(change(seeds, random));
    std::printf("%zu inputs, and %u changes of them\n", seeds.size(), runs);
    return 0;
}
