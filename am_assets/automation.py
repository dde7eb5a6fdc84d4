"""When an asset follows those it is made from."""

from dagster import AssetCheckKey, AssetKey, AutomationCondition


def follow_each_day() -> AutomationCondition[AssetKey | AssetCheckKey]:
    """Whenever a day of a source was updated, that day; however long ago it was.

    It is Dagster's `eager()` but for five things, each of which lost or delayed days here:
    `in_latest_time_window` sees only today, and a phone may sync a week late; `newly_missing` asks
    for every asset each midnight; `any_deps_missing` stops whatever has two sources of which one
    sent nothing that day; `any_deps_in_progress` never lets anything run while a device sends all
    the time; and an update of a source during the asset's own run counts as handled there, so
    that here only a request resets it.
    """
    changed = AutomationCondition.any_deps_updated()
    handled = AutomationCondition.newly_requested() | AutomationCondition.initial_evaluation()
    return (changed.since(handled) & ~AutomationCondition.in_progress()).with_label(
        "follow_each_day"
    )
