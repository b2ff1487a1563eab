// SPDX-License-Identifier: BSD-3-Clause
#include "web/replay_box.h"

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <linux/landlock.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace postern {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kNoBox = 125;  ///< exit code of a process that could not be confined
constexpr std::size_t kSaid = 4096;

constexpr std::uint64_t kRead =
    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE;
constexpr std::uint64_t kReadFile = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE;
/// All rights of the first version: what is named in a ruleset is refused unless a rule grants it.
constexpr std::uint64_t kAll = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

/// A folder that is removed with what is in it.
class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string name = (fs::temp_directory_path() / "postern-replay-XXXXXX").string();
        if (::mkdtemp(name.data()) != nullptr) path_ = name;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        if (!path_.empty()) fs::remove_all(path_, ignored);
    }
    const std::string& path() const noexcept { return path_; }

  private:
    std::string path_;
};

struct Grant {
    std::string path;
    std::uint64_t rights;
};

// What follows runs between fork() and execve(), in a process that had other threads: system calls
// only, no allocation.

bool grant(int ruleset, const Grant& g) {
    landlock_path_beneath_attr rule{};
    rule.allowed_access = g.rights;
    rule.parent_fd = ::open(g.path.c_str(), O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0) return errno == ENOENT || errno == EACCES;  // nothing to be granted
    return ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
}
bool confine_files(const std::vector<Grant>& grants) {
    landlock_ruleset_attr attributes{};
    attributes.handled_access_fs = kAll;
    const int ruleset =
        static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0));
    if (ruleset < 0) return false;
    for (const Grant& g : grants)
        if (!grant(ruleset, g)) return false;
    return ::syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
}
bool limit(int what, rlim_t most) {
    const rlimit to{most, most};
    return ::setrlimit(static_cast<__rlimit_resource>(what), &to) == 0;
}
[[noreturn]] void give_up(const char* why) {
    (void)!::write(STDERR_FILENO, why, std::strlen(why));
    ::_exit(kNoBox);
}
struct Confined {
    const std::vector<Grant>& grants;
    std::size_t memory_bytes;
    rlim_t seconds;
    int out, err;
    pid_t parent;
};
[[noreturn]] void become(const Confined& box, char* const* argv, char* const* environment) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != box.parent) ::_exit(kNoBox);
    const int nothing = ::open("/dev/null", O_RDONLY);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(box.out, STDOUT_FILENO);
    ::dup2(box.err, STDERR_FILENO);
    ::syscall(SYS_close_range, 3u, ~0u, 0u);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) give_up("no_new_privs is refused");
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC) != 0)
        give_up("this kernel allows no user namespaces, so a replay would have a network");
    if (!confine_files(box.grants))
        give_up("this kernel has no Landlock, so a replay could read and write files");
    if (!limit(RLIMIT_CPU, box.seconds) || !limit(RLIMIT_AS, box.memory_bytes) ||
        // Memory of DPDK is a file without a name. No file with a name can be written.
        !limit(RLIMIT_FSIZE, box.memory_bytes) || !limit(RLIMIT_NOFILE, 128) ||
        !limit(RLIMIT_CORE, 0))
        give_up("a limit is refused");
    ::execve(argv[0], argv, environment);
    give_up("the program cannot be executed");
}

// ---- the parent ---------------------------------------------------------------------------------

/// Takes the output apart into lines.
class Output {
  public:
    Output(ReplayAnswer& answer, std::size_t most) : answer_(answer), most_(most) {}

    void add(std::string_view bytes) {
        rest_.append(bytes);
        std::size_t from = 0;
        for (std::size_t end; (end = rest_.find('\n', from)) != std::string::npos; from = end + 1)
            line(rest_.substr(from, end - from));
        rest_.erase(0, from);
    }

  private:
    void line(std::string text) {
        if (!text.starts_with("{\"type\":\"")) return;
        if (text.starts_with("{\"type\":\"summary\""))
            answer_.summary = std::move(text);
        else if (answer_.rows.size() < most_)
            answer_.rows.push_back(std::move(text));
        else
            ++answer_.left_out;
    }

    ReplayAnswer& answer_;
    const std::size_t most_;
    std::string rest_;
};

struct Ends {
    UniqueFd read, write;

    static Ends make() {
        std::array<int, 2> fds{-1, -1};
        if (::pipe2(fds.data(), O_CLOEXEC) != 0) return {};
        return {UniqueFd(fds[0]), UniqueFd(fds[1])};
    }
};

std::string without_end(std::string text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
        text.pop_back();
    return text;
}

}  // namespace

ReplayAnswer ReplayBox::run(const std::string& capture, const std::vector<std::string>& arguments) {
    const std::unique_lock lock(one_at_a_time_, std::try_to_lock);
    if (!lock) return {.state = ReplayAnswer::State::busy, .error = "another capture is replayed"};
    const TemporaryFolder folder;
    if (folder.path().empty())
        return {.error = std::string("no folder for the capture: ") + std::strerror(errno)};
    const std::string file = folder.path() + "/capture";
    std::ofstream out(file, std::ios::binary);
    out << capture;
    out.close();
    if (!out) return {.error = "cannot write the capture to " + folder.path()};
    return run_in(folder.path(), file, arguments);
}

ReplayAnswer ReplayBox::run_in(const std::string& folder, const std::string& capture,
                               const std::vector<std::string>& arguments) const {
    std::error_code ignored;
    const std::string config = fs::absolute(options_.config, ignored).string();
    std::vector<std::string> words{options_.program, "replay", "--json", "-c", config};
    words.insert(words.end(), arguments.begin(), arguments.end());
    words.insert(words.end(), {"--", capture});
    const std::vector<std::string> settings{"PATH=/usr/bin:/bin", "LANG=C.UTF-8",
                                            "RUNTIME_DIRECTORY=" + folder, "HOME=" + folder,
                                            "TMPDIR=" + folder};
    const auto pointers = [](const std::vector<std::string>& of) {
        std::vector<char*> all;
        for (const std::string& word : of)
            all.push_back(const_cast<char*>(word.c_str()));
        all.push_back(nullptr);
        return all;
    };
    const auto argv = pointers(words), environment = pointers(settings);
    const std::vector<Grant> grants{{"/usr", kRead},
                                    {"/lib", kRead},
                                    {"/lib64", kRead},
                                    {"/etc/ld.so.cache", kReadFile},
                                    {"/etc/services", kReadFile},
                                    {"/etc/localtime", kReadFile},
                                    {"/proc", kRead},
                                    {"/sys", kRead},
                                    {"/dev/null", kReadFile | LANDLOCK_ACCESS_FS_WRITE_FILE},
                                    {"/dev/zero", kReadFile},
                                    {"/dev/urandom", kReadFile},
                                    {options_.program, kReadFile},
                                    {fs::path(config).parent_path().string(), kRead},
                                    {folder, kRead | LANDLOCK_ACCESS_FS_MAKE_DIR}};
    Ends out = Ends::make(), err = Ends::make();
    if (!out.read || !err.read) return {.error = "no pipes for a replay"};
    const Confined box{
        grants,          options_.memory_bytes, static_cast<rlim_t>(options_.deadline.count()),
        out.write.get(), err.write.get(),       ::getpid()};
    const pid_t child = ::fork();
    if (child < 0) return {.error = std::string("no process: ") + std::strerror(errno)};
    if (child == 0) become(box, argv.data(), environment.data());
    out.write.reset();
    err.write.reset();

    ReplayAnswer answer;
    Output lines(answer, options_.rows);
    std::string said, why;
    std::size_t bytes = 0;
    std::array<char, 65536> part;
    std::array<pollfd, 2> ends{{{out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}}};
    const auto deadline = Clock::now() + options_.deadline;
    while (why.empty() && (ends[0].fd >= 0 || ends[1].fd >= 0)) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (left <= 0) {
            why = "the replay took more than " + std::to_string(options_.deadline.count()) + " s";
            break;
        }
        if (::poll(ends.data(), ends.size(), static_cast<int>(left)) <= 0) continue;
        for (pollfd& end : ends) {
            if (end.fd < 0 || end.revents == 0) continue;
            const ssize_t n = ::read(end.fd, part.data(), part.size());
            if (n <= 0) {
                end.fd = -1;
                continue;
            }
            const std::string_view got(part.data(), static_cast<std::size_t>(n));
            if (end.fd == err.read.get())
                said.append(got.substr(0, kSaid - std::min(kSaid, said.size())));
            else
                lines.add(got);
            if ((bytes += got.size()) > options_.output_bytes) why = "its output is too long";
        }
    }
    // Also after its end: whatever it has started.
    ::kill(-child, SIGKILL);
    ::kill(child, SIGKILL);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    answer.state = ReplayAnswer::State::failed;
    if (!why.empty())
        answer.error = why;
    else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        answer.state = ReplayAnswer::State::ok;
    else if (WIFSIGNALED(status))
        answer.error = "the replay was ended by signal " + std::to_string(WTERMSIG(status));
    else
        answer.error = said.empty() ? "the replay failed" : without_end(said);
    return answer;
}

}  // namespace postern
