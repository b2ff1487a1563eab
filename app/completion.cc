// SPDX-License-Identifier: BSD-3-Clause
#include "completion.h"

#include <string_view>

namespace postern {
namespace {

constexpr std::string_view kBash = R"(# For bash: source <(PROGRAM --bash-completion)
_PROGRAM() {
    local words last
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *' ' ]] && words+=('')
    last=${words[-1]}
    mapfile -t COMPREPLY < <("${words[0]}" --complete "${words[@]:1}" 2>/dev/null)
    # Bash completes what follows the equals sign.
    [[ $last == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${last%%=*}="}")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _PROGRAM PROGRAM
)";

constexpr std::string_view kZsh = R"(#compdef PROGRAM
# For zsh: source <(PROGRAM --zsh-completion), or a file _PROGRAM in $fpath
_PROGRAM() {
    local -a found keys others
    found=("${(@f)$("${words[1]}" --complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    keys=(${(M)found:#*=})
    others=(${found:#(*=|)})
    (( ${#keys} )) && compadd -Q -S '' -- "${keys[@]}"
    (( ${#others} )) && compadd -Q -- "${others[@]}"
    (( ${#keys} + ${#others} )) || _default
}
if [[ ${funcstack[1]} == _PROGRAM ]]; then _PROGRAM "$@"; else compdef _PROGRAM PROGRAM; fi
)";

std::string with_name(std::string_view text, const std::string& program) {
    constexpr std::string_view kHere = "PROGRAM";
    std::string out(text);
    for (std::size_t at = 0; (at = out.find(kHere, at)) != out.npos; at += program.size())
        out.replace(at, kHere.size(), program);
    return out;
}

}  // namespace

std::string bash_completion(const std::string& program) {
    return with_name(kBash, program);
}

std::string zsh_completion(const std::string& program) {
    return with_name(kZsh, program);
}

}  // namespace postern
