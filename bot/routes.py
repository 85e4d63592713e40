"""Every address of the service on one screen. Channels bring theirs by configuration, see `bot.channels`."""

from bot import profile
from bot.api import (
    adapters,
    auth,
    channels,
    chat_ws,
    company,
    desk,
    dialogs,
    documents,
    faqs,
    feedback,
    forgetting,
    health,
    jobs,
    openapi,
    pages,
    releasing,
    review,
    search,
    sessions,
    stats,
    training,
)

ROUTES = [
    # visitors
    *sessions.routes,  # /api/sessions, …/messages
    *chat_ws.routes,  # /api/sessions/{id}/ws
    *feedback.routes,  # /api/messages/{id}/feedback
    *forgetting.routes,  # DELETE /api/sessions/{id}
    *profile.routes,  # /api/profile
    # staff
    *auth.routes,  # /api/login, /api/logout, /api/me
    *faqs.routes,  # /api/faqs
    *documents.routes,  # /api/documents
    *search.routes,  # /api/search
    *dialogs.routes,  # /api/dialogs
    *company.routes,  # /api/company
    *desk.routes,  # /api/desk
    *review.routes,  # /api/review
    *training.routes,  # /api/training-runs
    *adapters.routes,  # /api/adapters
    *releasing.routes,  # /api/releases, /api/shadow
    *channels.routes,  # /api/channels, /api/deliveries
    *jobs.routes,  # /api/jobs
    *stats.routes,  # /api/stats
    # everyone
    *openapi.routes,  # /api/openapi.json
    *health.routes,  # /healthz, /readyz, /metrics
    *pages.routes,  # /chat, /widget.js, /console, /assets
]
