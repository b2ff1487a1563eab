// SPDX-License-Identifier: BSD-3-Clause
// Api: the resources of postern-web, and who may read them. It knows nothing of sockets or of the
// HTTP library.
//
//   /                      the page; /app.js, /style.css
//   /metrics               OpenMetrics, or Prometheus' text format, as the client prefers
//   /api/v1/COMMAND        the rows of a command that reads: /api/v1/conntrack/list?proto=tcp
//   /api/v1/history        sums of the last quarter of an hour
//   /api/v1/expect/recent  recent events of expectations
//   /api/v1/status         whether the daemon answers
//   /api/v1/replay         POST: the verdicts on the packets of a capture
//   /api/v1/openapi.json   the description of all that
//
// Called by several threads at once.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "web/daemon.h"
#include "web/history.h"
#include "web/http.h"
#include "web/replay_box.h"

namespace postern {

struct ApiOptions {
    std::string token{};               ///< empty: nobody needs one
    std::vector<std::string> hosts{};  ///< further names that requests may give as Host
};

class Api {
  public:
    static constexpr std::size_t kRows = 1'000, kMaxRows = 10'000;

    Api(Daemon& daemon, const History& history, ReplayBox& replays, ApiOptions options);

    HttpAnswer handle(const HttpRequest& request);

    /// The OpenAPI 3.0 description; the same for all processes of this version.
    static std::string openapi();

  private:
    HttpAnswer route(const HttpRequest& request);
    HttpAnswer metrics(const HttpRequest& request);
    HttpAnswer rows(const Json& command, const HttpRequest& request);
    HttpAnswer status();
    HttpAnswer replay(const HttpRequest& request);
    bool host_is_ours(std::string_view host) const;
    bool has_token(const HttpRequest& request) const;

    Daemon& daemon_;
    const History& history_;
    ReplayBox& replays_;
    ApiOptions options_;
    std::vector<Json> commands_;                           ///< those that it serves
    std::array<std::atomic<std::uint64_t>, 6> answers_{};  ///< by the hundreds of their status
};

}  // namespace postern
