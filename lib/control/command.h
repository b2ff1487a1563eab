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
    scalar,   ///< a string or an integer
    address,  ///< an IP address, as text
    prefix,   ///< an IP address, or a prefix ADDRESS/BITS, as text
    id        ///< of a connection or an expectation, as lists show it
};

/// As people read it.
const char* type_name(ArgType type);

struct ArgSpec {
    std::string name;
    ArgType type = ArgType::string;
    bool required = false;
    std::string help;
    /// The words that it may be, where only few are; empty: whatever its type allows. The handler
    /// checks.
    std::vector<std::string> values{};
    /// May be given without its name, in the order of such arguments.
    bool positional = false;
    /// Values that exist now (names of helpers, say), for completion; may be empty.
    std::function<std::vector<std::string>()> candidates{};
};

/// How posternctl shows some fields of a row as one cell. A field may be `a.b`: b of the object a.
enum class CellForm {
    value,     ///< the field as text; an object as "key=value ..." without zeros
    endpoint,  ///< address, port and, if given, bits of a prefix: 192.0.2.1:21, [2001:db8::1]:*
    pair,      ///< two fields: a/b
    ends       ///< the two ends in an object: src:sport>dst:dport
};

struct Column {
    std::string title;
    std::vector<std::string> fields;
    CellForm form = CellForm::value;
    bool right = false;                 ///< numbers
    std::string absent = "-";           ///< stands for what the row does not have
    std::vector<std::string> except{};  ///< keys of the object that have columns of their own
};

/// What a command does. Reading shows what a monitoring program needs: states, counters, names.
enum class Effect {
    read,
    write  ///< changes something, or shows payload
};

const char* to_string(Effect effect);

/// Where posternctl puts the rows, or takes the records from. The daemon touches no file.
enum class FileUse {
    none,
    write,  ///< rows go into a new file, given as FILE
    read    ///< FILE's records go to the daemon
};

struct Command {
    std::string name;  ///< words with one blank between: "conntrack list"
    std::string help;
    std::vector<ArgSpec> args;
    /// Called with arguments that have passed `args`: required ones are there, types are right,
    /// no others. An Error is the client's mistake (code "bad_args").
    std::function<Result<std::unique_ptr<RowSource>>(const Json& args)> handler;
    /// A command that does not say otherwise is refused on the reading socket.
    Effect effect = Effect::write;
    std::vector<Column> columns{};  ///< none: the keys of the first row are the columns
    bool endless = false;           ///< rows come as things happen, until the client leaves
    FileUse file = FileUse::none;
};

/// The description of a command, as `help` gives it to clients.
Json describe(const Command& command);

/// For short answers that are known at once.
std::unique_ptr<RowSource> rows_of(std::vector<Json> rows);

}  // namespace postern
