// SPDX-License-Identifier: BSD-3-Clause
// The commands that list, end and watch connections. All run on the control thread, which never
// touches a connection: it gives the owning workers an order by mailbox, and reads what they tell.
#include <chrono>
#include <deque>

#include "args.h"
#include "commands.h"
#include "conn_state.h"
#include "control_reader.h"
#include "event_hub.h"
#include "state_file.h"

namespace postern {
namespace {

using Source = Result<std::unique_ptr<RowSource>>;
using Clock = std::function<Tick()>;

// ---- arguments ----

std::vector<ArgSpec> filter_args() {
    return {{"zone", ArgType::integer, false, "conntrack zone"},
            {"family", ArgType::string, false, "ipv4 or ipv6"},
            {"proto", ArgType::scalar, false, "tcp, udp, … or a number"},
            {"src", ArgType::string, false, "who began it lies in this prefix"},
            {"dst", ArgType::string, false, "whom it asked lies in this prefix"},
            {"sport", ArgType::integer, false, "port of who began it"},
            {"dport", ArgType::integer, false, "port that was asked"},
            {"state", ArgType::string, false, "new, related or established"},
            {"proto_state", ArgType::string, false,
             "as TCP, SCTP or DCCP has it: syn_sent, established, …"},
            {"mark", ArgType::scalar, false, "number, or number/mask"},
            {"label", ArgType::scalar, false, "number, or number/mask"},
            {"assured", ArgType::boolean, false, "worth keeping under pressure, or not"},
            {"helper", ArgType::string, false, "name of the helper that watches it"},
            {"expected_by", ArgType::string, false, "name of the helper that expected it"},
            {"master", ArgType::string, false, "id of its master, WORKER/INDEX.GENERATION"},
            {"rule", ArgType::string, false, "name of the rule that accepted it"}};
}

Result<ConnFilter> read_filter(const Plan& plan, const Json& json) {
    constexpr std::string_view kFamilies[] = {"ipv4", "ipv6"};
    constexpr std::string_view kStates[] = {"new", "established", "related"};
    constexpr CtState kStateValues[] = {CtState::fresh, CtState::established, CtState::related};
    std::vector<std::string_view> own_states;  // each ends with a zero
    for (unsigned s = 0; s < kTcpStates; ++s)
        own_states.emplace_back(to_string(static_cast<TcpState>(s)));
    for (unsigned s = 0; s < kSctpStates; ++s)
        own_states.emplace_back(to_string(static_cast<SctpState>(s)));
    for (unsigned s = 0; s < kDccpStates; ++s)
        own_states.emplace_back(to_string(static_cast<DccpState>(s)));
    Args a(plan, json);
    ConnFilter f;
    if (const auto zone = a.uint("zone", kCtZones - 1)) f.zone = static_cast<CtZone>(*zone);
    if (const auto i = a.word("family", kFamilies))
        f.family = *i == 0 ? Family::ipv4 : Family::ipv6;
    f.protocol = a.protocol("proto");
    f.src = a.prefix("src");
    f.dst = a.prefix("dst");
    f.sport = a.port("sport");
    f.dport = a.port("dport");
    if (const auto i = a.word("state", kStates)) f.state = kStateValues[*i];
    if (const auto i = a.word("proto_state", own_states)) f.state_name = own_states[*i].data();
    a.masked("mark", f.mark, f.mark_mask);
    a.masked("label", f.label, f.label_mask);
    f.assured = a.boolean("assured");
    f.helper = a.helper("helper");
    f.expected_by = a.helper("expected_by");
    f.master = a.connection("master");
    f.rule = a.rule("rule");
    if (!a.problem.empty()) return Error{a.problem};
    return f;
}

// ---- list, delete, flush ----

class Orders;

/// Who waits for an answer of a worker, and when it last looked for it.
struct MailOwner {
    const Orders* order = nullptr;
    std::chrono::steady_clock::time_point looked;
};
/// By worker; one for all commands.
using MailOwners = std::vector<MailOwner>;

/// One order to all workers, one worker after the other. An order whose client has gone away is
/// taken back; until the worker has noticed, the next one waits. A list whose client does not read
/// gives way to those that wait, and goes on where it was when its client does.
class Orders {
  public:
    Orders(Firewall& fw, std::shared_ptr<MailOwners> owners, Mailbox::Order order,
           const ConnFilter& filter)
        : fw_(fw), owners_(std::move(owners)), order_(order), filter_(filter) {}
    ~Orders() {
        for (unsigned w = 0; w < owners_->size(); ++w)
            if ((*owners_)[w].order == this) take_back(w);
    }
    Orders(const Orders&) = delete;
    Orders& operator=(const Orders&) = delete;

    Pull next(Mailbox::Row& row) {
        for (; worker_ < fw_.workers(); ++worker_) {
            Mailbox& m = fw_.worker(worker_).mailbox();
            MailOwner& owner = (*owners_)[worker_];
            const auto now = std::chrono::steady_clock::now();
            if (owner.order != this) {
                if (owner.order != nullptr && owner.order->order_ != Mailbox::Order::end &&
                    now - owner.looked > kPatience)
                    take_back(worker_);
                if (owner.order != nullptr || !give(m)) return Pull::pending;
                owner.order = this;
            }
            owner.looked = now;
            if (m.rows.pop(row)) return found(row);
            // Acquire pairs with the worker's answer, which comes after its last row.
            if (m.state.load(std::memory_order_acquire) == Mailbox::asked) return Pull::pending;
            if (m.rows.pop(row)) return found(row);
            ended_ += m.ended;
            m.state.store(Mailbox::idle, std::memory_order_relaxed);
            owner.order = nullptr;
            resume_ = 1;
        }
        return Pull::done;
    }
    /// Of the last row.
    WorkerId worker() const { return static_cast<WorkerId>(worker_); }
    std::uint64_t ended() const { return ended_; }

  private:
    static constexpr std::chrono::milliseconds kPatience{500};

    Pull found(const Mailbox::Row& row) {
        resume_ = row.slot + 1;
        return Pull::row;
    }
    void take_back(unsigned w) {
        fw_.worker(w).mailbox().cancelled.store(true, std::memory_order_relaxed);
        (*owners_)[w].order = nullptr;
    }
    /// False: the worker still has an order that nobody waits for any more.
    bool give(Mailbox& m) {
        if (m.state.load(std::memory_order_acquire) == Mailbox::asked) return false;
        for (Mailbox::Row rest; m.rows.pop(rest);) {
        }
        m.order = order_;
        m.filter = filter_;
        m.cursor = resume_;
        m.ended = 0;
        m.cancelled.store(false, std::memory_order_relaxed);
        m.state.store(Mailbox::asked, std::memory_order_release);
        return true;
    }

    Firewall& fw_;
    std::shared_ptr<MailOwners> owners_;
    Mailbox::Order order_;
    ConnFilter filter_;
    unsigned worker_ = 0;
    std::uint32_t resume_ = 1;  ///< slot of this worker that comes next
    std::uint64_t ended_ = 0;
};

class ListSource : public RowSource {
  public:
    ListSource(Firewall& fw, std::shared_ptr<MailOwners> owners, const ConnFilter& filter)
        : plan_(fw.plan()), orders_(fw, std::move(owners), Mailbox::Order::list, filter) {}

    Pull next(Json& row) override {
        const Pull pull = orders_.next(found_);
        if (pull == Pull::row)
            row = connection_row(plan_, orders_.worker(), found_.slot, found_.conn, found_.now);
        return pull;
    }

  private:
    const Plan& plan_;
    Orders orders_;
    Mailbox::Row found_;
};

/// All of them as records, and what they expect: a file of connections, line by line.
class SaveSource : public RowSource {
  public:
    SaveSource(Firewall& fw, std::shared_ptr<MailOwners> owners, Clock now)
        : fw_(fw), orders_(fw, std::move(owners), Mailbox::Order::save, {}), now_(std::move(now)) {}

    Pull next(Json& row) override {
        switch (step_) {
            case Step::head: {
                using namespace std::chrono;
                const auto wall = system_clock::now().time_since_epoch();
                row["postern_state"] = {{"version", kStateVersion},
                                        {"saved_ms", duration_cast<milliseconds>(wall).count()}};
                step_ = Step::connections;
                return Pull::row;
            }
            case Step::connections: {
                const Pull pull = orders_.next(found_);
                if (pull == Pull::done) step_ = Step::expectations;
                if (pull != Pull::row) return Pull::pending;
                ++connections_;
                if (found_.helper.there && found_.helper.cut) ++cut_;
                row = connection_record(fw_.plan(), fw_.helpers(), orders_.worker(), found_);
                return Pull::row;
            }
            case Step::expectations:
                if (expected_.empty() && more_) {
                    Online online(fw_);
                    more_ = fw_.expectations().walk(
                        cursor_, 1024, [this](const ExpectInfo& e) { expected_.push_back(e); });
                }
                if (expected_.empty() && more_) return Pull::pending;
                if (!expected_.empty()) {
                    ++expectations_;
                    row = expectation_record(fw_.plan(), expected_.front(), now_());
                    expected_.pop_front();
                    return Pull::row;
                }
                row["end"] = {
                    {"connections", connections_}, {"expectations", expectations_}, {"cut", cut_}};
                step_ = Step::done;
                return Pull::row;
            case Step::done: break;
        }
        return Pull::done;
    }

  private:
    enum class Step {
        head,
        connections,
        expectations,
        done
    };
    Firewall& fw_;
    Orders orders_;
    Clock now_;
    Step step_ = Step::head;
    Mailbox::Row found_;
    std::deque<ExpectInfo> expected_;
    std::uint32_t cursor_ = 0;
    bool more_ = true;
    std::uint64_t connections_ = 0, expectations_ = 0;
    std::uint64_t cut_ = 0;  ///< connections of whose control stream bytes are missing
};

class EndSource : public RowSource {
  public:
    EndSource(Firewall& fw, std::shared_ptr<MailOwners> owners, const ConnFilter& filter)
        : orders_(fw, std::move(owners), Mailbox::Order::end, filter) {}

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        Mailbox::Row none;
        if (orders_.next(none) != Pull::done) return Pull::pending;
        row["deleted"] = orders_.ended();
        said_ = true;
        return Pull::row;
    }

  private:
    Orders orders_;
    bool said_ = false;
};

// ---- events ----

Source events(Firewall& fw, const std::shared_ptr<EventHub<ConnEvent>>& hub, const Json& args) {
    const Plan& plan = fw.plan();
    auto filter = read_filter(plan, args);
    if (!filter) return filter.error();
    constexpr std::string_view kTypes[] = {"new", "update", "destroy"};
    Args a(plan, args);
    const auto only = a.word("event", kTypes);
    const auto count = a.uint("count", UINT32_MAX);
    if (!a.problem.empty()) return Error{a.problem};
    const auto wanted = [filter = *filter, only](const ConnEvent& e) {
        return (!only || static_cast<std::size_t>(e.type) == *only) && filter.matches(e.conn);
    };
    const auto to_row = [&plan](const ConnEvent& e, Json& row) {
        row["event"] = to_string(e.type);
        row["cause"] = e.type == ConnEventType::destroy ? Json(to_string(e.end)) : Json(nullptr);
        row["at_ms"] = e.at.ms;
        row.update(connection_row(plan, static_cast<WorkerId>(e.worker), e.slot, e.conn, e.at));
    };
    return Source(std::make_unique<EventSource<ConnEvent>>(hub, wanted, count, to_row));
}

}  // namespace

void register_conntrack_commands(ControlServer& server, Firewall& fw, Clock now) {
    auto owners = std::make_shared<MailOwners>(fw.workers());
    server.register_command(
        {"conntrack list", "connections now", filter_args(), [&fw, owners](const Json& args) {
             auto filter = read_filter(fw.plan(), args);
             if (!filter) return Source(filter.error());
             return Source(std::make_unique<ListSource>(fw, owners, *filter));
         }});
    server.register_command(
        {"conntrack delete", "end the connections that match (at least one condition)",
         filter_args(), [&fw, owners](const Json& args) {
             if (args.empty()) return Source(Error{"which ones? (`conntrack flush` ends all)"});
             auto filter = read_filter(fw.plan(), args);
             if (!filter) return Source(filter.error());
             return Source(std::make_unique<EndSource>(fw, owners, *filter));
         }});
    server.register_command({"conntrack flush", "end all connections, or those that match",
                             filter_args(), [&fw, owners](const Json& args) {
                                 auto filter = read_filter(fw.plan(), args);
                                 if (!filter) return Source(filter.error());
                                 return Source(std::make_unique<EndSource>(fw, owners, *filter));
                             }});
    server.register_command({"conntrack save",
                             "connections and expectations as records for conntrack restore",
                             {},
                             [&fw, owners, now = std::move(now)](const Json&) {
                                 return Source(std::make_unique<SaveSource>(fw, owners, now));
                             }});
    std::vector<EventRing<ConnEvent>*> rings;
    for (unsigned w = 0; w < fw.workers(); ++w)
        rings.push_back(&fw.worker(w).events());
    auto hub = std::make_shared<EventHub<ConnEvent>>(std::move(rings), [&fw](bool on) {
        for (unsigned w = 0; w < fw.workers(); ++w)
            fw.worker(w).listen(on);
    });
    auto event_args = filter_args();
    event_args.push_back({"event", ArgType::string, false, "only new, update or destroy"});
    event_args.push_back({"count", ArgType::integer, false, "end after this many events"});
    server.register_command({"conntrack events", "what happens to connections, as it happens",
                             event_args,
                             [&fw, hub](const Json& args) { return events(fw, hub, args); }});
}

}  // namespace postern
