// SPDX-License-Identifier: BSD-3-Clause
// The daemon's description of its commands, at posternctl's side: the command of a command line,
// its arguments, its help, and completions of an unfinished line.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "control/client.h"

namespace postern {

using Words = std::vector<std::string>;

class CtlCommands {
  public:
    /// Queries the daemon. The Error states why it did not answer.
    static Result<CtlCommands> ask(ControlClient& client);
    /// Those of a daemon of this version, for help and completion without one.
    static CtlCommands known();

    /// The command at the beginning of `words`, and its number of words; null: none. An alias of
    /// the description's row, which lives as long as this.
    struct Match {
        const Json* command = nullptr;
        std::size_t words = 0;
    };
    Match match(const Words& words) const;
    /// The error if no command begins so: the words that may follow, or the nearest command.
    std::string no_match(const Words& words) const;

    /// The list of commands; of those that begin with these words.
    std::string list(const Words& beginning = {}) const;
    const std::vector<Json>& all() const noexcept { return commands_; }

    /// Completions of the last of these words. Without a client, current names are not known.
    Words complete(const Words& words, ControlClient* client) const;

  private:
    std::vector<Json> commands_;
};

/// The words after a command as its arguments: KEY=VALUE, or a VALUE for an argument that needs no
/// name. Values stay texts: only the daemon knows which are numbers. The Error describes the first
/// bad one.
Result<Json> read_arguments(const Json& command, const Words& words);
/// The FILE argument of a command that has one.
Result<std::string> read_file_argument(const Json& command, const Words& words);
/// The text of --help for a command.
std::string help_of(const Json& command);

}  // namespace postern
