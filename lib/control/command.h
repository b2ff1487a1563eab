// SPDX-License-Identifier: BSD-3-Clause
// Registrations of the application with the control server: commands that answer with rows.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace postern {

/// Keeps the order in which fields were set, for readers of the rows.
using Json = nlohmann::ordered_json;

/// Thrown by RowSource::next(): a mistake of the client that shows after a while only. Its answer
/// ends like that of a handler's Error.
struct Refusal : std::runtime_error {
    using std::runtime_error::runtime_error;
};

enum class Pull {
    row,      ///< `row` was filled; call again
    pending,  ///< nothing yet (a worker has not answered): call again in a moment
    done      ///< no more rows
};

/// The rows of one answer, produced one at a time when the client has room for them. Lives from the
/// request until `done` or until the client disconnects, whichever is first; the destructor must
/// cancel pending requests to workers.
class RowSource {
  public:
    virtual ~RowSource() = default;
    /// Must not block and must return soon: all clients and signals wait meanwhile. `row` is an
    /// empty object. An exception ends this answer with an error, nothing else.
    virtual Pull next(Json& row) = 0;
};

enum class ArgType {
    string,
    integer,
    boolean,
    scalar,   ///< a string or an integer
    address,  ///< an IP address, as text
    prefix,   ///< an IP address, or a prefix ADDRESS/BITS, as text
    path,     ///< a file that the daemon reads; posternctl sends its absolute path
    id,       ///< of a connection or an expectation, as lists show it
    filter,   ///< conditions on packets; posternctl compiles them (capture/filter.h)
    // A text or an integer, read by the handler:
    port,    ///< a port's number, or the name of its service
    ports,   ///< the same, or a range
    time,    ///< seconds, or a time with units
    times,   ///< the same, or a range
    numbers  ///< a number with K, M or G, or a range
};

/// As operators read it.
const char* type_name(ArgType type);
/// The form of its values, with examples; empty: its name says it all.
const char* type_help(ArgType type);

struct ArgSpec {
    std::string name;
    ArgType type = ArgType::string;
    bool required = false;
    std::string help;
    /// The valid words, if there are only few; empty: any value of its type. The handler checks.
    std::vector<std::string> values{};
    /// May be given without its name, in the order of such arguments.
    bool positional = false;
    /// Current values (for example names of helpers), for completion; may be empty.
    std::function<std::vector<std::string>()> candidates{};
    /// A condition of which "!VALUE" is the contrary.
    bool negatable = false;
    /// Positional: takes all further words. posternctl puts commas between them.
    bool repeated = false;
};

/// The display of some fields of a row as one cell in posternctl. A field may be `a.b`: b of the
/// object a.
enum class CellForm {
    value,     ///< the field as text; an object as "key=value ..." without zeros
    endpoint,  ///< address, port and, if given, bits of a prefix: 192.0.2.1:21, [2001:db8::1]:*
    pair,      ///< two fields: a/b
    ends,      ///< the two ends in an object: src:sport>dst:dport
    clock      ///< the time of day of a time as 2026-11-30T01:23:43.123+0100
};

struct Column {
    std::string title;
    std::vector<std::string> fields;
    CellForm form = CellForm::value;
    bool right = false;                 ///< numbers
    std::string absent = "-";           ///< shown for missing fields
    std::vector<std::string> except{};  ///< keys of the object that have columns of their own
    /// Where lines are too long, posternctl leaves out the columns of the highest rank first; those
    /// of rank 0 never.
    unsigned rank = 0;
};

/// The effect of a command. Reading shows what a monitoring program needs: states, counters, names.
enum class Effect {
    read,
    write  ///< changes something, or shows payload
};

const char* to_string(Effect effect);

/// The file to which posternctl writes the rows, or from which it reads records. The daemon touches
/// no file.
enum class FileUse {
    none,
    write,   ///< rows go into a new file, given as FILE
    read,    ///< FILE's records go to the daemon
    packets  ///< rows are packets: with -w FILE they go into a new pcapng file
};

struct Command {
    std::string name;  ///< words with one blank between: "conntrack list"
    std::string help;
    std::vector<ArgSpec> args;
    /// Called with arguments that match `args`: required ones exist, types are right, no others. An
    /// Error is the client's mistake (code "bad_args").
    std::function<Result<std::unique_ptr<RowSource>>(const Json& args)> handler;
    /// A command without a declared effect is refused on the reading socket.
    Effect effect = Effect::write;
    std::vector<Column> columns{};  ///< none: the keys of the first row are the columns
    bool endless = false;           ///< rows of events, until the client disconnects
    FileUse file = FileUse::none;
    /// posternctl shows rows in which this field is 0 only with --all (or --json); empty: no such
    /// rows.
    std::string zeros{};
};

/// The description of a command, as `help` returns it to clients.
Json describe(const Command& command);

/// For short answers that are available at once.
std::unique_ptr<RowSource> rows_of(std::vector<Json> rows);

}  // namespace postern
