// SPDX-License-Identifier: BSD-3-Clause
// What the application registers with the control server: commands that answer with rows.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace postern {

/// Keeps the order in which fields were set: people read the rows too.
using Json = nlohmann::ordered_json;

enum class Pull {
    row,      ///< `row` was filled; ask again
    pending,  ///< nothing yet (a worker has not answered): ask again in a moment
    done      ///< no more rows
};

/// The rows of one answer, made one at a time when the client has room for them. Lives from the
/// request until `done` or until the client goes away, whichever is first; the destructor must
/// give back whatever was asked of workers.
class RowSource {
  public:
    virtual ~RowSource() = default;
    /// Must not block and must return soon: all clients and signals wait meanwhile. `row` is an
    /// empty object. A thrown exception ends this answer with an error, nothing else.
    virtual Pull next(Json& row) = 0;
};

enum class ArgType {
    string,
    integer,
    boolean,
    scalar  ///< a string or an integer
};

struct ArgSpec {
    std::string name;
    ArgType type = ArgType::string;
    bool required = false;
    std::string help;
};

struct Command {
    std::string name;  ///< words with one blank between: "conntrack list"
    std::string help;
    std::vector<ArgSpec> args;
    /// Called with arguments that have passed `args`: required ones are there, types are right,
    /// no others. An Error is the client's mistake (code "bad_args").
    std::function<Result<std::unique_ptr<RowSource>>(const Json& args)> handler;
};

/// For short answers that are known at once.
std::unique_ptr<RowSource> rows_of(std::vector<Json> rows);

}  // namespace postern
