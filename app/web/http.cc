// SPDX-License-Identifier: BSD-3-Clause
// The only file that includes cpp-httplib, which is slow to compile.
#include "web/http.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include <httplib.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/unique_fd.h"

namespace postern {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kHeadTime{5'000}, kBodyTime{30'000}, kAnswerTime{20'000}, kLinger{1'000};
constexpr std::size_t kMaxHead = 16 * 1024;

/// Threads that serve connections, made as they are needed. The destructor of the library's server
/// calls shutdown().
class Threads final : public httplib::TaskQueue {
  public:
    Threads(std::size_t most, std::size_t waiting) : most_(most), waiting_(waiting) {}

    void enqueue(std::function<void()> job) override {
        {
            const std::lock_guard lock(mutex_);
            if (jobs_.size() < waiting_) {
                jobs_.push_back(std::move(job));
                if (jobs_.size() > idle_ && threads_.size() < most_)
                    threads_.emplace_back([this] { work(); });
                wake_.notify_one();
                return;
            }
        }
        job();  // on the thread that accepts: it refuses the connection
    }
    void shutdown() override {
        {
            const std::lock_guard lock(mutex_);
            stopped_ = true;
        }
        wake_.notify_all();
        for (std::thread& thread : threads_)
            thread.join();
    }

  private:
    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            ++idle_;
            wake_.wait(lock, [this] { return stopped_ || !jobs_.empty(); });
            --idle_;
            if (jobs_.empty()) return;
            const auto job = std::move(jobs_.front());
            jobs_.pop_front();
            lock.unlock();
            job();
            lock.lock();
        }
    }

    const std::size_t most_, waiting_;
    std::mutex mutex_;  ///< of what follows
    std::condition_variable wake_;
    std::deque<std::function<void()>> jobs_;
    std::vector<std::thread> threads_;
    std::size_t idle_ = 0;
    bool stopped_ = false;
};

/// A connected socket, or TLS on it, by deadlines. It does not own the socket.
class Link {
  public:
    explicit Link(int fd) : fd_(fd) {}
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;
    ~Link() {
        if (ssl_ != nullptr) SSL_free(ssl_);
    }

    void set_deadline(milliseconds from_now) { deadline_ = Clock::now() + from_now; }

    /// The server's side of the handshake.
    bool begin_tls(SSL_CTX* context) {
        ssl_ = SSL_new(context);
        if (ssl_ == nullptr || SSL_set_fd(ssl_, fd_) != 1) return false;
        for (;;) {
            const int n = SSL_accept(ssl_);
            if (n == 1) return true;
            if (!wait_for_tls(n)) return false;
        }
    }
    /// 0: the client has sent all; -1: an error, or the deadline.
    ssize_t read(char* to, std::size_t room) {
        for (;;) {
            if (ssl_ == nullptr) {
                const ssize_t n = ::recv(fd_, to, room, MSG_DONTWAIT);
                if (n >= 0) return n;
                if (!again(POLLIN)) return -1;
            } else {
                const int n = SSL_read(ssl_, to, int_of(room));
                if (n > 0) return n;
                if (SSL_get_error(ssl_, n) == SSL_ERROR_ZERO_RETURN) return 0;
                if (!wait_for_tls(n)) return -1;
            }
        }
    }
    ssize_t write(const char* from, std::size_t size) {
        for (;;) {
            if (ssl_ == nullptr) {
                const ssize_t n = ::send(fd_, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n >= 0) return n;
                if (!again(POLLOUT)) return -1;
            } else {
                const int n = SSL_write(ssl_, from, int_of(size));
                if (n > 0) return n;
                if (!wait_for_tls(n)) return -1;
            }
        }
    }
    /// Closing a socket with unread bytes resets it, and the client may lose the answer.
    void end() {
        set_deadline(kLinger);
        if (ssl_ != nullptr) SSL_shutdown(ssl_);
        if (::shutdown(fd_, SHUT_WR) != 0) return;
        std::array<char, 4096> rest;
        for (unsigned n = 0; n < 256; ++n) {
            const ssize_t got = ::recv(fd_, rest.data(), rest.size(), MSG_DONTWAIT);
            if (got == 0 || (got < 0 && !again(POLLIN))) return;
        }
    }
    int fd() const noexcept { return fd_; }

  private:
    static int int_of(std::size_t size) {
        return static_cast<int>(std::min<std::size_t>(size, 1 << 20));
    }
    bool wait_for(short events) const {
        for (;;) {
            const auto left = std::chrono::ceil<milliseconds>(deadline_ - Clock::now()).count();
            if (left <= 0) return false;
            pollfd p{fd_, events, 0};
            const int n = ::poll(&p, 1, static_cast<int>(left));
            if (n > 0) return true;
            if (n < 0 && errno != EINTR) return false;
        }
    }
    /// After an error of recv() or send().
    bool again(short events) const {
        if (errno == EINTR) return true;
        return (errno == EAGAIN || errno == EWOULDBLOCK) && wait_for(events);
    }
    bool wait_for_tls(int result) const {
        switch (SSL_get_error(ssl_, result)) {
            case SSL_ERROR_WANT_READ: return wait_for(POLLIN);
            case SSL_ERROR_WANT_WRITE: return wait_for(POLLOUT);
            default: return false;
        }
    }

    int fd_;
    SSL* ssl_ = nullptr;
    Clock::time_point deadline_{};
};

/// What the library reads: the checked head, then the body from the socket.
class RequestStream final : public httplib::Stream {
  public:
    RequestStream(Link& link, std::string begin) : link_(link), begin_(std::move(begin)) {}

    bool is_readable() const override { return true; }
    bool is_writable() const override { return true; }
    ssize_t read(char* to, std::size_t room) override {
        if (taken_ < begin_.size()) {
            const std::size_t n = begin_.copy(to, room, taken_);
            taken_ += n;
            return static_cast<ssize_t>(n);
        }
        return link_.read(to, room);
    }
    ssize_t write(const char* from, std::size_t size) override {
        if (!answering_) link_.set_deadline(kAnswerTime);
        answering_ = true;
        return link_.write(from, size);
    }
    void get_remote_ip_and_port(std::string& ip, int& port) const override {
        ip.clear();
        port = 0;
    }
    void get_local_ip_and_port(std::string& ip, int& port) const override {
        ip.clear();
        port = 0;
    }
    socket_t socket() const override { return link_.fd(); }

  private:
    Link& link_;
    std::string begin_;
    std::size_t taken_ = 0;
    bool answering_ = false;
};

void send_all(Link& link, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = link.write(text.data(), text.size());
        if (n <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(n));
    }
}
/// Answers what the library is not to see. `status`: "400 Bad Request: why".
void refuse(Link& link, const std::string& status) {
    const std::size_t colon = status.find(':');
    const std::string body = status + "\n";
    send_all(link, "HTTP/1.1 " + status.substr(0, colon) +
                       "\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: "
                       "nosniff\r\nConnection: close\r\nContent-Length: " +
                       std::to_string(body.size()) + "\r\n\r\n" + body);
}

HttpRequest request_of(const httplib::Request& from) {
    HttpRequest request;
    request.method = from.method;
    request.path = from.path;
    request.query = {from.params.begin(), from.params.end()};
    for (const auto& [name, value] : from.headers)
        if (std::ranges::none_of(name, [](char c) { return c >= 'A' && c <= 'Z'; }))
            request.headers.emplace(name, value);  // the library's own are in upper case
    return request;
}
void give(HttpAnswer answer, httplib::Response& to) {
    to.status = answer.status;
    for (auto& [name, value] : answer.headers)
        to.set_header(name, value);
    to.set_content(answer.body, answer.type);
}
HttpAnswer answer_of(const HttpHandler& handler, const HttpRequest& request) {
    try {
        return handler(request);
    } catch (const std::exception& e) {
        return {.status = 500, .body = std::string("internal error: ") + e.what() + "\n"};
    }
}

template <class Base>
class Bounded final : public HttpServer, private Base {
  public:
    template <class... Args>
    Bounded(const HttpOptions& options, HttpHandler handler, Args&&... args)
        : Base(std::forward<Args>(args)...), handler_(std::move(handler)) {
        Base::new_task_queue = [options] {
            return new Threads(options.connections, options.waiting);
        };
        // The library's own would let a second program listen on the same port.
        Base::set_socket_options([](socket_t fd) {
            const int yes = 1;
            ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        });
        Base::set_payload_max_length(options.max_body);
        Base::set_pre_routing_handler([this](const httplib::Request& req, httplib::Response& res) {
            if (req.method == "POST") return httplib::Server::HandlerResponse::Unhandled;
            give(answer_of(handler_, request_of(req)), res);
            return httplib::Server::HandlerResponse::Handled;
        });
        Base::Post(".*", [this](const httplib::Request& req, httplib::Response& res,
                                const httplib::ContentReader& reader) {
            HttpRequest request = request_of(req);
            request.read_body = [&reader](std::string& body) {
                return reader([&body](const char* bytes, std::size_t n) {
                    body.append(bytes, n);
                    return true;
                });
            };
            give(answer_of(handler_, request), res);
        });
    }

    bool is_usable() const { return Base::is_valid(); }
    SSL_CTX* tls() {
        if constexpr (std::is_same_v<Base, httplib::SSLServer>) return Base::ssl_context();
        return nullptr;
    }
    Result<void> bind(const HttpOptions& options) {
        errno = 0;
        const bool bound = options.port != 0
                               ? Base::bind_to_port(options.address, options.port)
                               : (port_ = Base::bind_to_any_port(options.address)) > 0;
        if (!bound)
            return Error{"cannot listen on " + options.address + " port " +
                         std::to_string(options.port) + ": " +
                         (errno != 0 ? std::generic_category().message(errno)
                                     : std::string("no such address here"))};
        if (options.port != 0) port_ = options.port;
        // The library's backlog is 5, and a page alone opens more at once.
        ::listen(Base::svr_sock_, 256);
        return {};
    }

    int port() const noexcept override { return port_; }
    void run() override {
        acceptor_ = std::this_thread::get_id();
        Base::listen_after_bind();
    }

  private:
    bool process_and_close_socket(socket_t socket) override {
        const UniqueFd fd(socket);
        Link link(socket);
        serve(link);
        return true;
    }
    void serve(Link& link) {
        if (std::this_thread::get_id() == acceptor_) {
            link.set_deadline(milliseconds(0));  // what fits into the socket's buffer
            if (tls() == nullptr) refuse(link, "503 Service Unavailable: too many connections");
            return;
        }
        link.set_deadline(kHeadTime);
        if (tls() != nullptr && !link.begin_tls(tls())) return;
        std::string received;
        std::size_t end = std::string::npos;
        while ((end = received.find("\r\n\r\n")) == std::string::npos) {
            if (received.size() > kMaxHead) {
                refuse(link, "431 Request Header Fields Too Large: at most 16 KiB");
                return link.end();
            }
            std::array<char, 4096> bytes;
            const ssize_t n = link.read(bytes.data(), bytes.size());
            if (n <= 0) {
                // Without a byte of a request there is nobody to answer.
                if (received.empty()) return;
                link.set_deadline(milliseconds(0));
                return refuse(link, "408 Request Timeout: the request is not complete");
            }
            received.append(bytes.data(), static_cast<std::size_t>(n));
        }
        link.set_deadline(kBodyTime);
        auto head = checked_head(std::string_view(received).substr(0, end + 4));
        if (!head) {
            refuse(link, head.error().message);
        } else {
            RequestStream stream(link, std::move(*head) + received.substr(end + 4));
            bool closed = true;
            Base::process_request(stream, true, closed, nullptr);
        }
        link.end();
    }

    HttpHandler handler_;
    int port_ = 0;
    std::atomic<std::thread::id> acceptor_{};
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::open(const HttpOptions& options,
                                                     HttpHandler handler) {
    if (options.certificate.empty()) {
        auto server = std::make_unique<Bounded<httplib::Server>>(options, std::move(handler));
        if (auto bound = server->bind(options); !bound) return bound.error();
        return std::unique_ptr<HttpServer>(std::move(server));
    }
    auto server = std::make_unique<Bounded<httplib::SSLServer>>(
        options, std::move(handler), options.certificate.c_str(), options.key.c_str(),
        options.client_ca.empty() ? nullptr : options.client_ca.c_str());
    if (!server->is_usable())
        return Error{"cannot use the certificate " + options.certificate + ", its key " +
                     options.key +
                     (options.client_ca.empty() ? "" : " or the authority " + options.client_ca)};
    SSL_CTX_set_min_proto_version(server->tls(), TLS1_2_VERSION);
    // Without it clients that show a certificate cannot resume.
    constexpr unsigned char kContext[] = "postern-web";
    SSL_CTX_set_session_id_context(server->tls(), kContext, sizeof kContext - 1);
    if (auto bound = server->bind(options); !bound) return bound.error();
    return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace postern
