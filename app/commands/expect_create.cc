// SPDX-License-Identifier: BSD-3-Clause
// `expect create`.
#include <optional>
#include <variant>

#include "commands/context.h"
#include "control_reader.h"

namespace postern {
namespace {

/// The id only of one that this request made: others may have another owner.
void fill(Json& row, const InsertResult& result, OwnerId owner) {
    const bool made =
        result.outcome == InsertOutcome::created || result.outcome == InsertOutcome::refreshed;
    row["outcome"] = to_string(result.outcome);
    row["id"] = made && result.id ? Json(id_text(owner, result.id)) : Json(nullptr);
    row["help"] = help_text(result.outcome);
}

/// What is wrong with the ports of an expected connection, which could never match: the protocol
/// has none, or no connection has such a port. Empty: nothing.
std::string port_mistake(const ExpectRequest& r, bool dport_given, bool sport_given) {
    const std::string name = protocol_name(r.protocol);
    // Two numbers of a GRE call take the place of ports.
    if (!has_ports(r.protocol) && r.protocol != proto::gre) {
        if (dport_given || sport_given)
            return std::string(dport_given ? "dport" : "sport") + ": " + name +
                   " has no ports, so this would never match";
        if (r.protocol == proto::icmp || r.protocol == proto::icmpv6)
            return "proto: no connection of " + name + " is ever expected";
        return {};
    }
    if (!dport_given) return "dport: expected the destination port";
    if (r.dport == Be16{}) return "dport: 0 would never match";
    if (sport_given && r.sport == Be16{} && r.protocol != proto::gre)
        return "sport: 0 would never match; without it any source port does";
    return {};
}

/// Sends a request to the master's worker, which alone may touch the master's list.
class CreateSource final : public RowSource, public ReplyReader {
  public:
    CreateSource(std::shared_ptr<WorkerRequests> requests, ConnId master,
                 const ExpectRequest& request)
        : requests_(std::move(requests)), master_(master), request_(request) {}
    ~CreateSource() override { requests_->forget(*this); }
    CreateSource(const CreateSource&) = delete;
    CreateSource& operator=(const CreateSource&) = delete;

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        requests_->poll();
        if (!sent_ && requests_->has_room(master_.worker)) {
            requests_->send(master_.worker, CreateExpectRequest{master_, request_}, *this);
            sent_ = true;
        }
        if (!reply_) return Pull::pending;
        const auto outcome = reply_->found ? reply_->result.outcome : InsertOutcome::master_gone;
        fill(row, {outcome, reply_->result.id}, static_cast<OwnerId>(master_.worker.number()));
        if (!reply_->found) row["help"] = "no live connection with a helper has this id";
        said_ = true;
        return Pull::row;
    }
    void on_reply(std::uint32_t, const ControlReply& reply) override {
        reply_ = std::get<CreateExpectReply>(reply);
    }

  private:
    std::shared_ptr<WorkerRequests> requests_;
    ConnId master_;
    ExpectRequest request_;
    std::optional<CreateExpectReply> reply_;
    bool sent_ = false;
    bool said_ = false;
};

Source create(Firewall& fw, const Json& json, const std::function<Tick()>& now,
              const std::shared_ptr<WorkerRequests>& requests) {
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
        r.src = *src;
    }
    if (const auto sport = a.port("sport")) r.set_sport(*sport);
    if (const auto wrong = port_mistake(r, json.contains("dport"), json.contains("sport"));
        a.problem.empty())
        a.problem = wrong;
    r.helper = a.helper("helper").value_or(kNoHelper);
    r.child_helper = a.helper("child_helper").value_or(kNoHelper);
    r.mark = a.uint("mark", UINT32_MAX).value_or(0);
    r.label = a.uint("label", UINT32_MAX).value_or(0);
    r.class_index = static_cast<std::uint8_t>(a.uint("class", kExpectClasses - 1).value_or(0));
    r.flags = expect_flag::userspace;
    if (a.flag("permanent")) r.flags |= expect_flag::permanent;
    if (a.flag("inactive")) r.flags |= expect_flag::inactive;
    const auto zone = a.uint("zone", kCtZones - 1);
    const auto timeout_s = a.time("timeout", kMaxTimeoutS);
    if (timeout_s == 0u) a.wrong("timeout", "expected at least 1 second");
    const auto master = a.connection("master");
    if (!a.problem.empty()) return Error{a.problem};
    r.timeout_ms = timeout_s.value_or(300) * 1000;
    if (master) {
        if (a.flag("no_master")) return Error{"master and no_master exclude each other"};
        if (zone) return Error{"zone: it is the master's"};
        return Source(std::make_unique<CreateSource>(requests, *master, r));
    }
    if (!a.flag("no_master"))
        return Error{
            "expected master=WORKER/INDEX.GENERATION of a live connection with a helper "
            "(conntrack list shows it), or no_master=true with zone and timeout"};
    if (!zone || !timeout_s) return Error{"no_master needs zone and timeout"};
    r.ct_zone = CtZone::from(*zone);
    Online online(fw);
    Json row = Json::object();
    fill(row, control_owner(fw).insert(r, nullptr, {now()}), static_cast<OwnerId>(fw.workers()));
    return Source(rows_of({std::move(row)}));
}

}  // namespace

Command command_expect_create(const CommandContext& context) {
    const auto helpers = helper_names(plan_of(context));
    return {
        .name = "expect create",
        .help = "File an expectation, for a live master or for none",
        .args = {{"proto", ArgType::scalar, true, "tcp, udp, … or a number"},
                 {"dst", ArgType::address, true, "destination address"},
                 {"dport", ArgType::port, false, "destination port, if the protocol has ports"},
                 {"src", ArgType::prefix, false, "source address or prefix; default: any"},
                 {"sport", ArgType::port, false, "source port; default: any"},
                 {"master", ArgType::id, false, "id of its master, WORKER/INDEX.GENERATION"},
                 {"no_master", ArgType::boolean, false, "without a master; needs zone and timeout"},
                 {"zone", ArgType::integer, false, "conntrack zone; the master's if it has one"},
                 {"timeout", ArgType::time, false, "default 300s with a master"},
                 {.name = "helper",
                  .help = "helper that owns it; default: the master's",
                  .candidates = helpers},
                 {.name = "child_helper",
                  .help = "helper of the expected connection",
                  .candidates = helpers},
                 {"class", ArgType::integer, false, "class of the helper, from 0"},
                 {"mark", ArgType::integer, false, "mark of the expected connection"},
                 {"label", ArgType::integer, false, "label of the expected connection"},
                 {"permanent", ArgType::boolean, false, "stays after it matched"},
                 {"inactive", ArgType::boolean, false, "matches nothing"}},
        .handler = [&fw = context.fw, now = context.now, requests = context.requests](
                       const Json& args) { return create(fw, args, now, requests); },
        .effect = Effect::write,
        .columns = {{"OUTCOME", {"outcome"}}, {"ID", {"id"}}, {"HELP", {"help"}}}};
}

}  // namespace postern
