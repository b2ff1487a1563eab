// SPDX-License-Identifier: BSD-3-Clause
// The commands that look into or change the expectation table, and the removal of a helper. All run
// on the control thread, which is an owner of expectations like each worker; it is online as an RCU
// reader only while it looks.
#include <algorithm>
#include <deque>
#include <optional>

#include "args.h"
#include "commands.h"
#include "control_reader.h"
#include "event_hub.h"
#include "letters.h"

namespace postern {
namespace {

using Source = Result<std::unique_ptr<RowSource>>;
using Clock = std::function<Tick()>;
constexpr std::uint32_t kObjectsAStep = 1024;

// ---- arguments ----

std::vector<ArgSpec> filter_args() {
    return {{"helper", ArgType::string, false, "name of the helper that expects"},
            {"proto", ArgType::scalar, false, "tcp, udp, … or a number"},
            {"src", ArgType::string, false, "its source lies in this prefix"},
            {"dst", ArgType::string, false, "destination lies in this prefix"},
            {"dport", ArgType::integer, false, "destination port"},
            {"zone", ArgType::integer, false, "conntrack zone"},
            {"master", ArgType::string, false, "id of its master, WORKER/INDEX.GENERATION"},
            {"id", ArgType::string, false, "its own, INDEX.GENERATION"}};
}

struct Filter {
    std::optional<HelperId> helper;
    std::optional<std::uint8_t> protocol;
    std::optional<Prefix> src, dst;
    std::optional<Be16> dport;
    std::optional<std::uint32_t> zone;
    std::optional<ConnId> master;
    std::optional<ExpectId> id;

    static Result<Filter> read(const Plan& plan, const Json& json) {
        Args a(plan, json);
        Filter f{a.helper("helper"),     a.protocol("proto"), a.prefix("src"),
                 a.prefix("dst"),        a.port("dport"),     a.uint("zone", kCtZones - 1),
                 a.connection("master"), a.expectation("id")};
        if (!a.problem.empty()) return Error{a.problem};
        return f;
    }
    bool matches(const ExpectInfo& e) const {
        if (helper && e.helper != *helper) return false;
        if (protocol && e.protocol != *protocol) return false;
        if (src && (e.src_prefix < src->length || !src->contains(e.src))) return false;
        if (dst && !dst->contains(e.dst)) return false;
        if (dport && e.dport != *dport) return false;
        if (zone && e.zone != *zone) return false;
        if (id && e.id != *id) return false;
        return !master || e.master == *master;
    }
};

// ---- list, delete, flush ----

class ListSource : public RowSource {
  public:
    ListSource(Firewall& fw, Filter filter) : fw_(fw), filter_(filter) {}

    Pull next(Json& row) override {
        if (found_.empty() && more_) {
            Online online(fw_);
            more_ = fw_.expectations().walk(cursor_, kObjectsAStep, [this](const ExpectInfo& e) {
                if (filter_.matches(e)) found_.push_back(e);
            });
        }
        if (found_.empty()) return more_ ? Pull::pending : Pull::done;
        row = expectation_row(fw_.plan(), found_.front());
        found_.pop_front();
        return Pull::row;
    }

  private:
    Firewall& fw_;
    Filter filter_;
    std::uint32_t cursor_ = 0;
    bool more_ = true;
    std::deque<ExpectInfo> found_;
};

class DeleteSource : public RowSource {
  public:
    DeleteSource(Firewall& fw, Filter filter, Clock now)
        : fw_(fw), filter_(filter), now_(std::move(now)) {}

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        if (more_) {
            Online online(fw_);
            more_ = fw_.expectations().walk(cursor_, kObjectsAStep, [this](const ExpectInfo& e) {
                if (filter_.matches(e) &&
                    control_owner(fw_).remove(e.id, ExpectEnd::control, {now_()}))
                    ++deleted_;
            });
            if (more_) return Pull::pending;
        }
        row["deleted"] = deleted_;
        said_ = true;
        return Pull::row;
    }

  private:
    Firewall& fw_;
    Filter filter_;
    Clock now_;
    std::uint32_t cursor_ = 0;
    std::uint64_t deleted_ = 0;
    bool more_ = true, said_ = false;
};

// ---- create ----

/// Asks the master's worker, which alone may touch the master's list.
class CreateSource : public RowSource {
  public:
    CreateSource(Firewall& fw, ConnId master, const ExpectRequest& request,
                 std::shared_ptr<Letters> letters)
        : fw_(fw), master_(master), request_(request), letters_(std::move(letters)) {}
    ~CreateSource() override { letters_->forget(this); }
    CreateSource(const CreateSource&) = delete;
    CreateSource& operator=(const CreateSource&) = delete;

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        ExpectMail& m = fw_.worker(master_.worker).expect_mail();
        if (!letters_->answered(this, master_.worker, m, [this](ExpectMail& mail) {
                mail.master = master_;
                mail.request = request_;
            }))
            return Pull::pending;
        const auto outcome = m.found ? m.result.outcome : InsertOutcome::master_gone;
        row["outcome"] = to_string(outcome);
        row["help"] = m.found ? help_text(outcome) : "no live connection with a helper has this id";
        letters_->take(master_.worker, m);
        said_ = true;
        return Pull::row;
    }

  private:
    Firewall& fw_;
    ConnId master_;
    ExpectRequest request_;
    std::shared_ptr<Letters> letters_;
    bool said_ = false;
};

Source create(Firewall& fw, const Json& json, const Clock& now,
              const std::shared_ptr<Letters>& letters) {
    Args a(fw.plan(), json);
    ExpectRequest r;
    r.protocol = a.protocol("proto").value_or(0);
    if (const auto dst = a.prefix("dst")) {
        if (dst->length != full_length(dst->address)) a.wrong("dst", "expected one address");
        r.dst = dst->address;
    }
    r.dport = a.port("dport").value_or(Be16{});
    if (const auto src = a.prefix("src")) {
        if (src->address.family != r.dst.family) a.wrong("src", "is of another family than dst");
        r.src = src->address;
        r.src_prefix = src->length;
    }
    if (const auto sport = a.port("sport")) {
        r.sport = *sport;
        r.sport_mask = Be16::from_raw(0xffff);
    }
    r.helper = a.helper("helper").value_or(kNoHelper);
    r.child_helper = a.helper("child_helper").value_or(kNoHelper);
    r.mark = a.uint("mark", UINT32_MAX).value_or(0);
    r.label = a.uint("label", UINT32_MAX).value_or(0);
    r.class_index = static_cast<std::uint8_t>(a.uint("class", kExpectClasses - 1).value_or(0));
    r.flags = expect_flag::userspace;
    if (a.flag("permanent")) r.flags |= expect_flag::permanent;
    if (a.flag("inactive")) r.flags |= expect_flag::inactive;
    const auto zone = a.uint("zone", kCtZones - 1);
    const auto timeout_s = a.uint("timeout", kMaxTimeoutS);
    if (timeout_s == 0u) a.wrong("timeout", "expected at least 1 second");
    const auto master = a.connection("master");
    if (!a.problem.empty()) return Error{a.problem};
    r.timeout_ms = timeout_s.value_or(300) * 1000;
    if (master) {
        if (a.flag("no_master")) return Error{"master and no_master exclude each other"};
        if (zone) return Error{"zone: it is the master's"};
        return Source(std::make_unique<CreateSource>(fw, *master, r, letters));
    }
    if (!a.flag("no_master"))
        return Error{
            "expected master=WORKER/INDEX.GENERATION of a live connection with a helper "
            "(conntrack list shows it), or no_master=true with zone and timeout"};
    if (!zone || !timeout_s) return Error{"no_master needs zone and timeout"};
    r.zone = static_cast<CtZone>(*zone);
    Online online(fw);
    const auto outcome = control_owner(fw).insert(r, nullptr, {now()}).outcome;
    return Source(rows_of({{{"outcome", to_string(outcome)}, {"help", help_text(outcome)}}}));
}

// ---- events ----

Source events(Firewall& fw, const std::shared_ptr<EventHub<ExpectEvent>>& hub, const Json& args) {
    const Plan& plan = fw.plan();
    auto filter = Filter::read(plan, args);
    if (!filter) return filter.error();
    Args a(plan, args);
    const auto count = a.uint("count", UINT32_MAX);
    if (!a.problem.empty()) return Error{a.problem};
    const auto wanted = [filter = *filter](const ExpectEvent& e) { return filter.matches(e.info); };
    const auto to_row = [&plan](const ExpectEvent& e, Json& row) {
        row["event"] = to_string(e.type);
        row["cause"] = e.type == ExpectEventType::destroy ? Json(to_string(e.end)) : Json(nullptr);
        row["at_ms"] = e.at.ms;
        row["by"] = e.by;
        row.update(expectation_row(plan, e.info));
    };
    return Source(std::make_unique<EventSource<ExpectEvent>>(hub, wanted, count, to_row));
}

// ---- helper remove ----

/// Tells the workers, waits until all have done it, then ends what other masters or operators still
/// expect in its name.
class RemoveHelperSource : public RowSource {
  public:
    RemoveHelperSource(Firewall& fw, HelperId id, Clock now)
        : fw_(fw), id_(id), now_(std::move(now)), detached_before_(detached()) {
        fw_.remove_helper(id);
    }

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        if (!fw_.is_gone(id_)) return Pull::pending;
        if (more_) {
            Online online(fw_);
            more_ = fw_.expectations().walk(cursor_, kObjectsAStep, [this](const ExpectInfo& e) {
                if (e.helper == id_ || e.child_helper == id_)
                    control_owner(fw_).remove(e.id, ExpectEnd::helper_removed, {now_()});
            });
            if (more_) return Pull::pending;
        }
        row["helper"] = fw_.plan().helpers[id_ - 1u].name;
        row["removed"] = true;
        row["connections_detached"] = detached() - detached_before_;
        said_ = true;
        return Pull::row;
    }

  private:
    std::uint64_t detached() const {
        std::uint64_t n = 0;
        for (unsigned w = 0; w < fw_.workers(); ++w)
            n += fw_.worker(w).counters().helpers_detached.get();
        return n;
    }

    Firewall& fw_;
    HelperId id_;
    Clock now_;
    std::uint64_t detached_before_;
    std::uint32_t cursor_ = 0;
    bool more_ = true, said_ = false;
};

}  // namespace

void register_expect_commands(ControlServer& server, Firewall& fw, Clock now,
                              const std::shared_ptr<Letters>& letters) {
    server.register_command(
        {"expect list", "expectations now", filter_args(), [&fw](const Json& args) {
             auto filter = Filter::read(fw.plan(), args);
             if (!filter) return Source(filter.error());
             return Source(std::make_unique<ListSource>(fw, *filter));
         }});
    server.register_command({"expect delete",
                             "end the expectations that match (at least one condition)",
                             filter_args(), [&fw, now](const Json& args) {
                                 if (args.empty())
                                     return Source(Error{"which ones? (`expect flush` ends all)"});
                                 auto filter = Filter::read(fw.plan(), args);
                                 if (!filter) return Source(filter.error());
                                 return Source(std::make_unique<DeleteSource>(fw, *filter, now));
                             }});
    server.register_command({"expect flush", "end all expectations", {}, [&fw, now](const Json&) {
                                 return Source(std::make_unique<DeleteSource>(fw, Filter{}, now));
                             }});
    server.register_command(
        {"expect create",
         "file an expectation, for a live master or for none",
         {{"proto", ArgType::scalar, true, "tcp, udp, … or a number"},
          {"dst", ArgType::string, true, "destination address"},
          {"dport", ArgType::integer, true, "destination port"},
          {"src", ArgType::string, false, "source address or prefix; default: any"},
          {"sport", ArgType::integer, false, "source port; default: any"},
          {"master", ArgType::string, false, "id of its master, WORKER/INDEX.GENERATION"},
          {"no_master", ArgType::boolean, false, "it has none; needs zone and timeout"},
          {"zone", ArgType::integer, false, "conntrack zone; the master's if it has one"},
          {"timeout", ArgType::integer, false, "seconds; default 300 with a master"},
          {"helper", ArgType::string, false, "in whose name; default: the master's"},
          {"child_helper", ArgType::string, false, "helper of the expected connection"},
          {"class", ArgType::integer, false, "class of the helper, from 0"},
          {"mark", ArgType::integer, false, "mark of the expected connection"},
          {"label", ArgType::integer, false, "label of the expected connection"},
          {"permanent", ArgType::boolean, false, "stays after it matched"},
          {"inactive", ArgType::boolean, false, "matches nothing"}},
         [&fw, now, letters](const Json& args) { return create(fw, args, now, letters); }});
    std::vector<EventRing<ExpectEvent>*> rings;
    for (unsigned o = 0; o < fw.expectations().owners(); ++o)
        rings.push_back(&fw.expectations().owner(static_cast<OwnerId>(o)).events());
    auto hub = std::make_shared<EventHub<ExpectEvent>>(std::move(rings), [](bool) {});
    auto event_args = filter_args();
    event_args.push_back({"count", ArgType::integer, false, "end after this many events"});
    server.register_command({"expect events", "what happens to expectations, as it happens",
                             event_args,
                             [&fw, hub](const Json& args) { return events(fw, hub, args); }});
    server.register_command({"helper remove",
                             "take a helper out of service",
                             {{"name", ArgType::string, true, "as in the configuration"}},
                             [&fw, now](const Json& args) {
                                 Args a(fw.plan(), args);
                                 const auto id = a.helper("name");
                                 if (!id) return Source(Error{a.problem});
                                 return Source(std::make_unique<RemoveHelperSource>(fw, *id, now));
                             }});
}

}  // namespace postern
