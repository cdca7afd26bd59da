// Runs before the first paint, so that a chosen appearance does not flash.
try {
  const theme = localStorage.getItem("hieno-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // storage is blocked: the system's appearance it is
}
