// SPDX-License-Identifier: BSD-3-Clause
// `set load`: other contents at once, from a file that the daemon reads or from the command line.
#include <cerrno>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "commands/sets.h"

namespace postern {
namespace {

/// Reads a file some bytes a step, into a set of its own, which then takes the place of the old
/// contents.
class LoadSource : public RowSource {
  public:
    LoadSource(Firewall& fw, Json args, SetPlan plan, std::vector<TimedPrefix> entries, int fd)
        : fw_(fw),
          args_(std::move(args)),
          plan_(std::move(plan)),
          next_(*plan_.set, LiveSet::Empty{}),
          entries_(std::move(entries)),
          fd_(fd),
          reader_(args_.value("file", std::string())) {}

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        if (add_some()) return Pull::pending;
        if (fd_.get() >= 0) {
            read_some();
            return Pull::pending;
        }
        // Another configuration may have been loaded meanwhile.
        const SetPlan* const now = fw_.plan().find_set(plan_.name);
        if (now == nullptr || now->set != plan_.set)
            throw Refusal("the set is not in the configuration any more");
        refuse_above(now->max);
        plan_.set->expire();
        const std::size_t before = plan_.set->size();
        plan_.set->take(std::move(next_));
        recheck_if(fw_, args_, true);
        row["set"] = plan_.name;
        row["entries"] = plan_.set->size();
        row["before"] = before;
        said_ = true;
        return Pull::row;
    }

  private:
    static constexpr std::size_t kBytesAStep = 16384, kEntriesAStep = 1024;

    /// False: there is none left.
    bool add_some() {
        for (std::size_t n = 0; n < kEntriesAStep && at_ < entries_.size(); ++n) {
            const TimedPrefix& e = entries_[at_++];
            next_.add({e.prefix, next_.until(e.timeout_s.value_or(plan_.timeout_s))});
        }
        refuse_above(plan_.max);
        if (at_ < entries_.size()) return true;
        entries_.clear();
        at_ = 0;
        return false;
    }
    void refuse_above(std::size_t max) {
        if (next_.size() <= max) return;
        plan_.set->counters().refused += next_.size();
        throw Refusal("more entries than the set may have (" + std::to_string(max) +
                      ", its `max`), so nothing has changed");
    }
    void read_some() {
        char block[kBytesAStep];
        const ssize_t n = ::read(fd_.get(), block, sizeof block);
        if (n < 0)
            throw Refusal(args_["file"].get<std::string>() +
                          ": cannot be read: " + std::strerror(errno));
        const bool last = n == 0;
        const bool more = reader_.feed({block, static_cast<std::size_t>(n)}, last, entries_);
        if ((last || !more) && !reader_.errors().empty()) {
            std::string all = "nothing has changed";
            for (const std::string& error : reader_.errors())
                all += "\n" + error;
            throw Refusal(all);
        }
        if (last) fd_.reset();
    }

    Firewall& fw_;
    Json args_;
    SetPlan plan_;
    LiveSet next_;
    std::vector<TimedPrefix> entries_;  ///< read, but not added yet
    std::size_t at_ = 0;
    UniqueFd fd_;
    SetFileReader reader_;
    bool said_ = false;
};

Source load(Firewall& fw, const Json& args) {
    Args a(fw.plan(), args);
    const SetPlan* const plan = a.set("set");
    if (!a.problem.empty()) return Error{a.problem};
    if (args.contains("file") == args.contains("entries"))
        return Error{"expected a file, or entries=ENTRY,..."};
    if (args.contains("entries")) {
        auto entries = entries_of(args["entries"].get<std::string>());
        if (!entries) return entries.error();
        return Source(std::make_unique<LoadSource>(fw, args, *plan, std::move(*entries), -1));
    }
    const std::string path = args["file"].get<std::string>();
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat about {};
    if (fd.get() < 0 || ::fstat(fd.get(), &about) != 0)
        return Error{path + ": cannot be opened: " + std::strerror(errno)};
    // Reading anything else might never end.
    if (!S_ISREG(about.st_mode)) return Error{path + ": is not a regular file"};
    return Source(
        std::make_unique<LoadSource>(fw, args, *plan, std::vector<TimedPrefix>{}, fd.release()));
}

}  // namespace

Command command_set_load(const CommandContext& context) {
    return {
        .name = "set load",
        .help = "Replace all entries of a set at once: no packet meets a part of the new ones",
        .args = {set_argument(context),
                 {.name = "file",
                  .type = ArgType::path,
                  .help = "entries, one a line; `#` begins a comment; the daemon reads it",
                  .positional = true},
                 {"entries", ArgType::string, false,
                  "in place of a file: entries with commas between them"},
                 recheck_argument()},
        .handler = [&fw = context.fw](const Json& args) { return load(fw, args); },
        .effect = Effect::write,
        .columns = {{"SET", {"set"}}, number("ENTRIES", "entries"), number("BEFORE", "before")}};
}

}  // namespace postern
