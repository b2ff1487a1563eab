// SPDX-License-Identifier: BSD-3-Clause
#include "signals.h"

#include <csignal>

#include <sys/signalfd.h>
#include <unistd.h>

namespace postern {
namespace {

constexpr int kHeeded[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};
// A log or summary whose reader has gone, a file at its size limit, unused timers.
constexpr int kIgnored[] = {SIGPIPE, SIGXFSZ, SIGXCPU, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR};

}  // namespace

Result<Signals> Signals::take() {
    for (const int number : kIgnored)
        std::signal(number, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    for (const int number : kHeeded) {
        sigaddset(&set, number);
        // The parent may ignore it (nohup does with SIGHUP): then it would never be delivered.
        std::signal(number, SIG_DFL);
    }
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    UniqueFd fd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!fd) return Error{"cannot create a signalfd"};
    return Signals(std::move(fd));
}

Signals::Wish Signals::next() noexcept {
    signalfd_siginfo info;
    if (read(fd_.get(), &info, sizeof info) != sizeof info) return Wish::nothing;
    switch (info.ssi_signo) {
        case SIGHUP: return Wish::reload;
        case SIGUSR1: return Wish::summary;
        case SIGUSR2: return Wish::unknown;
        default: return Wish::stop;
    }
}

}  // namespace postern
