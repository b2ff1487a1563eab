# SPDX-License-Identifier: BSD-3-Clause
"""An RTSP server by GStreamer: rtsp_server.py ADDRESS PORT. Offers /test, two tones,
without end. Says `ready` when it listens. For Debian's own Python, which has GStreamer."""

import sys

import gi
gi.require_version('Gst', '1.0')
gi.require_version('GstRtspServer', '1.0')
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

MEDIA = ('( audiotestsrc is-live=true ! audio/x-raw,rate=8000 ! alawenc ! rtppcmapay name=pay0 pt=8 '
         'audiotestsrc is-live=true ! audio/x-raw,rate=8000 ! mulawenc ! rtppcmupay name=pay1 pt=0 )')

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address(sys.argv[1])
server.set_service(sys.argv[2])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(MEDIA)
server.get_mount_points().add_factory('/test', factory)
if server.attach(None) == 0:
    sys.exit('cannot listen')
print('ready', flush=True)
GLib.MainLoop().run()
