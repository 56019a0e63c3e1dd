"""`python -m gateway`: read the settings and the plan, then serve until told to stop."""

from __future__ import annotations

import asyncio
import os
import sys

from gateway import logs
from gateway.apps import build_api, build_page
from gateway.health import HealthBoard
from gateway.plan import Plan, PlanError, load_plan
from gateway.routes import read_routes
from gateway.serve import serve
from gateway.settings import Settings, SettingsError, load_settings


async def run(settings: Settings, plan: Plan) -> None:
    board = HealthBoard(plan, settings.check_seconds)
    routers = [read_routes(plan, board)]
    await serve(
        settings.host,
        {settings.page_port: build_page(settings, routers), settings.api_port: build_api(settings, routers)},
        asyncio.Event(),
    )


def main() -> int:
    try:
        settings = load_settings(os.environ)
        plan = load_plan(settings.plan_file)
    except (SettingsError, PlanError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(settings.log_level_number)
    asyncio.run(run(settings, plan))
    return 0


if __name__ == "__main__":
    sys.exit(main())
