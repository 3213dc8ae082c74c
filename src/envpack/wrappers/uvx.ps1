# Starts `uv tool run` by the wrapper beside this one.
& "$PSScriptRoot\uv.ps1" tool run @args
exit $LASTEXITCODE
