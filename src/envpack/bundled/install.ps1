# Runs install.cmd beside it, with the same words: install.ps1 DIR.
& (Join-Path $PSScriptRoot 'install.cmd') @args
exit $LASTEXITCODE
