// SPDX-License-Identifier: BSD-3-Clause
// What saved connections are read against, without an EAL: every helper that is built in, a
// userspace helper, two zones, a rule and a timeout profile.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "helper/engine.h"
#include "helper/registry.h"
#include "state/json_record.h"

namespace postern {

struct SavedSetting {
    static constexpr HelperDesc kRemote{.name = "remote",
                                        .help = "",
                                        .transports = transport::tcp,
                                        .framing = Framing::line,
                                        .remote = true};
    Plan plan;
    Steering steering;
    std::unique_ptr<const HelperSet> helpers;
    std::unique_ptr<HelperEngine> engine;

    SavedSetting() {
        std::vector<HelperConfig> configs;
        const auto add = [&](const HelperDesc& desc) {
            const std::string name(desc.name);
            configs.push_back({static_cast<HelperId>(configs.size() + 1), name, &desc, {}});
            HelperPlan& p = plan.helpers.emplace_back();
            p.name = name;
            p.transports = desc.transports;
            for (const ExpectClass& c : desc.classes)
                p.classes.push_back({std::string(c.name), static_cast<std::uint8_t>(c.max_expected),
                                     c.timeout_s * 1000});
        };
        for (const HelperDesc* desc : all_helpers())
            add(*desc);
        add(kRemote);
        auto set = HelperSet::create(configs);
        if (!set) std::abort();
        helpers = std::move(*set);
        auto made = HelperEngine::create(*helpers, {.max_conns = 4, .max_buffers = 8});
        if (!made) std::abort();
        engine = std::move(*made);
        plan.edges.join(plan.edges.add_zone("inside"), plan.edges.add_zone("outside"));
        plan.rules = {"all"};
        plan.timeout_names = {"short"};
        plan.workers = 3;
        steering.set_workers(3);
    }
    HelperId helper(std::string_view name) const {
        for (std::size_t i = 0; i < plan.helpers.size(); ++i)
            if (plan.helpers[i].name == name) return static_cast<HelperId>(i + 1);
        return kNoHelper;
    }
    Json record_of(const SavedConnection& saved) const {
        ConnImage image = saved.image;
        if (image.helper.there) image.conn.helper = image.helper.conn.helper;
        image.conn.master = saved.master;
        ConnId id = saved.id;
        if (!id) id.index = 1;
        const Tick now{saved.idle_ms};  // the image's own stamps are 0
        return connection_record(plan, *helpers, id, image.conn, &image.helper, now);
    }
};

}  // namespace postern
