"""Browsers as they are installed: Firefox by WebDriver BiDi, WebKitGTK by WebDriver.

Playwright drives Chromium as a distribution ships it, but of the others only builds of its own.
Both speak a W3C standard instead; here is as much of each as it takes to open a page, click and
evaluate, under the names that Playwright's page has: `benchmarks.studio_page` uses either.
"""
