// SPDX-License-Identifier: BSD-3-Clause
// HttpServer: HTTP/1.1 by cpp-httplib, with bounds that hold against every client.
//
// What: one request a connection. The head of a request is read here, by a deadline and up to a
// size, and checked before the library sees it; so are the deadlines of bodies and answers. A
// thread serves a connection; beyond the limit of connections a newcomer gets 503 at once. Used by:
// main.cc, which gives it a handler. The handler is called by several threads at once.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace postern {

struct HttpRequest {
    std::string method;  ///< GET, HEAD or POST
    std::string path;    ///< decoded, without the query
    std::multimap<std::string, std::string> query;
    std::multimap<std::string, std::string> headers;  ///< names in lower case
    /// Reads the body; false: it is too large, or did not come in time. Null: there is none.
    std::function<bool(std::string& body)> read_body;

    /// Empty: there is no such header, or more than one.
    std::string_view header(std::string_view name) const;
};

struct HttpAnswer {
    int status = 200;
    std::string type = "text/plain; charset=utf-8";
    std::string body{};
    std::vector<std::pair<std::string, std::string>> headers{};
};
using HttpHandler = std::function<HttpAnswer(const HttpRequest&)>;

struct HttpOptions {
    std::string address = "127.0.0.1";  ///< numeric
    int port = 0;                       ///< 0: any free one
    std::string certificate{};          ///< PEM file; empty: no TLS
    std::string key{};                  ///< PEM file
    std::string client_ca{};            ///< PEM file: clients need a certificate of this authority
    std::size_t connections = 256;      ///< served at once
    std::size_t waiting = 256;          ///< accepted, and not yet served
    std::size_t max_body = 16u << 20;
};

class HttpServer {
  public:
    virtual ~HttpServer() = default;
    /// Listens. The Error says why it cannot.
    static Result<std::unique_ptr<HttpServer>> open(const HttpOptions& options,
                                                    HttpHandler handler);
    virtual int port() const noexcept = 0;
    /// Serves until the process ends.
    virtual void run() = 0;
};

/// Lines of a request head, "GET / HTTP/1.1" first, without what the library is not to act on. The
/// Error's message is an HTTP status with its reason.
Result<std::string> checked_head(std::string_view head);

}  // namespace postern
