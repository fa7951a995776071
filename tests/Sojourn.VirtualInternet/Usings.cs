global using Sojourn.Engine;
