# Starts the uv of this folder, wherever the folder is now. Variables that are set stay as they are.
$root = Split-Path -Parent $PSScriptRoot
$machine = $env:PROCESSOR_ARCHITECTURE
if ($env:PROCESSOR_ARCHITEW6432) { $machine = $env:PROCESSOR_ARCHITEW6432 }
$programs = @{
@MACHINES@
}
if (-not $programs.ContainsKey($machine)) {
    [Console]::Error.WriteLine("error: this folder has no uv for Windows on $machine")
    exit 1
}
$wanted = @{ UV_CONFIG_FILE = "$root\uv.toml" }
if (Test-Path -LiteralPath "$root\python\archives") {
    $wanted['UV_PYTHON_CACHE_DIR'] = "$root\python\archives"
    $wanted['UV_PYTHON_DOWNLOADS_JSON_URL'] = "$root\python\downloads.json"
}
$set = @($wanted.Keys | Where-Object { -not (Test-Path "Env:$_") })
try {
    foreach ($name in $set) { Set-Item "Env:$name" $wanted[$name] }
    & "$root\libexec\$($programs[$machine])" @args
}
finally {
    foreach ($name in $set) { Remove-Item "Env:$name" }
}
exit $LASTEXITCODE
